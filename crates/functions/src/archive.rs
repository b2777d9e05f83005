//! A function's archive: a zip, checked before anything of it is written. No disk here; what is in it is handed out.
//!
//! Refused: paths that lead elsewhere, symbolic links, passwords, the same path twice, and more than the limits allow,
//! counted on what comes out and not on what the archive says of itself.

use std::collections::HashSet;
use std::io::{Cursor, Read as _};

use crate::limits::{ARCHIVE_BYTES_MAX, ARCHIVE_FILES_MAX, ARCHIVE_UNPACKED_MAX};

const PATH_BYTES_MAX: usize = 512;
const PART_BYTES_MAX: usize = 255;

/// Why an archive is refused; the user must act.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Not a zip, or a damaged one.
    #[error("the archive is no readable zip: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// A file in it cannot be unpacked.
    #[error("{path:?} of the archive cannot be unpacked: {source}")]
    Read {
        /// Its path.
        path: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A path that leads elsewhere, or what is no plain file.
    #[error("{path:?} of the archive {why}")]
    Path {
        /// The path as it stands there.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Too much.
    #[error("the archive has more than {0}")]
    TooLarge(String),
}

/// One file of an archive.
#[derive(Debug, PartialEq)]
pub(crate) struct File {
    /// Relative, with `/`, checked.
    pub path: String,
    pub bytes: Vec<u8>,
}

/// All files of an archive.
pub(crate) fn unpack(zip: &[u8]) -> Result<Vec<File>, ArchiveError> {
    if zip.len() > ARCHIVE_BYTES_MAX {
        return Err(ArchiveError::TooLarge(format!("{ARCHIVE_BYTES_MAX} bytes")));
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(zip))?;
    if archive.len() > ARCHIVE_FILES_MAX {
        return Err(ArchiveError::TooLarge(format!("{ARCHIVE_FILES_MAX} files")));
    }
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut room = ARCHIVE_UNPACKED_MAX;
    for index in 0..archive.len() {
        let entry = archive.by_index(index)?;
        let path = entry.name()?.into_owned();
        let refuse = |why| ArchiveError::Path { path: path.clone(), why };
        if entry.is_symlink() {
            return Err(refuse("is a symbolic link"));
        }
        let name = path.strip_suffix('/').unwrap_or(&path);
        check_path(name).map_err(refuse)?;
        // What the Finder adds to every archive.
        if entry.is_dir() || path.ends_with('/') || name.starts_with("__MACOSX/") || name.ends_with(".DS_Store") {
            continue;
        }
        if entry.unix_mode().is_some_and(|mode| !matches!(mode & 0o170_000, 0 | 0o100_000)) {
            return Err(refuse("is no plain file"));
        }
        if !seen.insert(name.to_owned()) {
            return Err(refuse("is in it twice"));
        }
        let mut bytes = Vec::new();
        let read = entry.take(room + 1).read_to_end(&mut bytes);
        let read = read.map_err(|source| ArchiveError::Read { path: path.clone(), source })? as u64;
        let too_large = || ArchiveError::TooLarge(format!("{ARCHIVE_UNPACKED_MAX} bytes unpacked"));
        room = room.checked_sub(read).ok_or_else(too_large)?;
        files.push(File { path: name.to_owned(), bytes });
    }
    Ok(files)
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.starts_with('/') {
        return Err("is an absolute path");
    }
    if path.len() > PATH_BYTES_MAX {
        return Err("is too long a path");
    }
    if path.contains(['\\', '\0', '\n', '\r']) {
        return Err("holds a character that no path here may have");
    }
    for part in path.split('/') {
        match part {
            "" | "." => return Err("is no plain path"),
            ".." => return Err("leads out of the archive"),
            part if part.len() > PART_BYTES_MAX => return Err("has too long a name"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use zip::write::SimpleFileOptions;

    fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, bytes) in files {
            writer.start_file(*path, SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let files = unpack(&zip_of(&[("func.py", b"x = 1\n"), ("lib/a.py", b""), ("__MACOSX/x", b"y")])).unwrap();
        let expected = [("func.py", &b"x = 1\n"[..]), ("lib/a.py", b"")];
        let expected: Vec<File> =
            expected.iter().map(|(path, bytes)| File { path: (*path).to_owned(), bytes: bytes.to_vec() }).collect();
        assert_eq!(files, expected);
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let cases = [
            ("../x", "leads out"),
            ("a/../../x", "leads out"),
            ("/etc/passwd", "absolute"),
            ("a//b", "no plain path"),
            ("./x", "no plain path"),
            ("a\\b", "character"),
        ];
        for (path, part) in cases {
            let error = unpack(&zip_of(&[(path, b"x")])).unwrap_err().to_string();
            assert!(error.contains(part), "{path}: {error}");
        }
    }

    #[test]
    fn links_and_bombs_are_refused() {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.add_symlink("x", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        let link = writer.finish().unwrap().into_inner();
        assert!(unpack(&link).unwrap_err().to_string().contains("symbolic link"));

        let zeros = vec![0u8; ARCHIVE_UNPACKED_MAX as usize / 2 + 1];
        let bomb = zip_of(&[("a", &zeros), ("b", &zeros)]);
        assert!(bomb.len() < ARCHIVE_BYTES_MAX);
        assert!(matches!(unpack(&bomb), Err(ArchiveError::TooLarge(_))));

        let many: Vec<String> = (0..=ARCHIVE_FILES_MAX).map(|n| format!("f{n}")).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|path| (path.as_str(), &b""[..])).collect();
        assert!(matches!(unpack(&zip_of(&many)), Err(ArchiveError::TooLarge(_))));
        assert!(matches!(unpack(b"no zip"), Err(ArchiveError::Zip(_))));
    }
}
