//! A function's folder: what `init` puts into a new one, and what of it `deploy` sends.
//!
//! Packing is a pure matter of what the folder holds: the same files make the same bytes, whenever and in whatever order the disk
//! gives them. What is left out is what no function needs at run time: version control, compiled files, virtual environments. Links
//! are not followed: what they lead to may be anything, and would be sent.

use std::io::{Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use event::limits;
use indicatif::HumanBytes;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::cli::CliError;

/// Largest archive that a request can carry: its text is a third longer, and stands in a body with some room for the rest.
pub const ARCHIVE_BYTES_MAX: usize = (limits::OCI_BODY_BYTES_MAX - (128 << 10)) / 4 * 3;

/// Most bytes of a folder's files: a folder with more is not a function's, or not only.
const FOLDER_BYTES_MAX: u64 = 64 << 20;

/// Most files of a folder.
const FOLDER_FILES_MAX: usize = 2_000;

/// Folders that are left out wherever they are.
const LEFT_OUT: &[&str] = &[".git", "__pycache__", ".venv"];

/// By what a virtual environment is known under any other name.
const ENVIRONMENT_MARK: &str = "pyvenv.cfg";

/// A folder as it is sent.
#[derive(Debug)]
pub struct Packed {
    /// A zip file.
    pub zip: Vec<u8>,
    /// How many files are in it.
    pub files: usize,
    /// How many bytes they have.
    pub bytes: u64,
}

/// Packs a function's folder.
pub fn pack(folder: &Path) -> Result<Packed, CliError> {
    let mut files = Vec::new();
    walk(folder, "", &mut files)?;
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let mut bytes = 0;
    for (name, path) in &files {
        let content = read(path, FOLDER_BYTES_MAX - bytes).map_err(|why| too_large_or(folder, path, &why))?;
        bytes += content.len() as u64;
        let is_program = std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o100 != 0);
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(if is_program { 0o755 } else { 0o644 });
        writer
            .start_file(name.as_str(), options)
            .map_err(std::io::Error::from)
            .and_then(|()| writer.write_all(&content))
            .map_err(|error| CliError::Refused(format!("cannot pack {}: {error}", path.display())))?;
    }
    let zip = writer
        .finish()
        .map_err(|error| CliError::Refused(format!("cannot pack {}: {error}", folder.display())))?
        .into_inner();
    if zip.len() > ARCHIVE_BYTES_MAX {
        return Err(CliError::Refused(format!(
            "{} packs to {}, more than the {} that a function may have; what it needs of other people's code belongs into \
             requirements.txt, and data elsewhere",
            folder.display(),
            HumanBytes(zip.len() as u64),
            HumanBytes(ARCHIVE_BYTES_MAX as u64)
        )));
    }
    Ok(Packed { zip, files: files.len(), bytes })
}

/// The files below a folder, by names as an archive has them, sorted.
fn walk(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), CliError> {
    let cannot_read = |error| CliError::Refused(format!("cannot read {}: {error}", folder.display()));
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(folder).map_err(cannot_read)?.collect();
    let mut entries = entries.map_err(cannot_read)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(cannot_read)?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(CliError::Refused(format!("{} has a name that is no UTF-8", path.display())));
        };
        let named = format!("{prefix}{name}");
        if kind.is_dir() {
            if !LEFT_OUT.contains(&name.as_str()) && !path.join(ENVIRONMENT_MARK).exists() {
                walk(&path, &format!("{named}/"), files)?;
            }
        } else if kind.is_file() {
            files.push((named, path));
        } else {
            let what = if kind.is_symlink() { "a link, which is not followed" } else { "no regular file" };
            return Err(CliError::Refused(format!("{} is {what}; put the file itself there", path.display())));
        }
        if files.len() > FOLDER_FILES_MAX {
            return Err(CliError::Refused(format!(
                "{} holds more than {FOLDER_FILES_MAX} files; is it the folder of a function?",
                folder.display()
            )));
        }
    }
    Ok(())
}

/// Why a file is not packed.
enum Unpacked {
    TooLarge,
    Unreadable(std::io::Error),
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Unpacked> {
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(Unpacked::Unreadable)?;
    file.take(bytes_max + 1).read_to_end(&mut content).map_err(Unpacked::Unreadable)?;
    if content.len() as u64 > bytes_max { Err(Unpacked::TooLarge) } else { Ok(content) }
}

fn too_large_or(folder: &Path, path: &Path, why: &Unpacked) -> CliError {
    match why {
        Unpacked::Unreadable(error) => CliError::Refused(format!("cannot read {}: {error}", path.display())),
        Unpacked::TooLarge => CliError::Refused(format!(
            "{} holds more than {} with {}; is it the folder of a function?",
            folder.display(),
            HumanBytes(FOLDER_BYTES_MAX),
            path.display()
        )),
    }
}

/// Writes a function that greets, and that writes down what a connector hands to it. Nothing is written over.
pub fn init(folder: &Path) -> Result<(), CliError> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !is_name(name) {
        return Err(CliError::Usage(format!(
            "{:?} cannot be a function's name: 1 to 255 letters, digits, ., _ and -",
            folder.display().to_string()
        )));
    }
    let files = [
        ("func.py", HELLO.to_owned()),
        ("func.yaml", FUNC_YAML.replace("NAME", name)),
        ("requirements.txt", "fdk>=0.1.61\n".to_owned()),
    ];
    for (file, _) in &files {
        let path = folder.join(file);
        if path.symlink_metadata().is_ok() {
            return Err(CliError::Refused(format!("{} exists; nothing is written over it", path.display())));
        }
    }
    std::fs::create_dir_all(folder)
        .map_err(|error| CliError::Refused(format!("cannot make {}: {error}", folder.display())))?;
    for (file, content) in files {
        let path = folder.join(file);
        // Only where nothing is, also if something came meanwhile.
        std::fs::File::create_new(&path)
            .and_then(|mut made| made.write_all(content.as_bytes()))
            .map_err(|error| CliError::Refused(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(())
}

/// Whether OCI would take this as the name of a function.
pub fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=255).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with(['.', '-'])
}

const FUNC_YAML: &str = "\
schema_version: 20180708
name: NAME
version: 0.0.1
runtime: python
entrypoint: /python/bin/fdk /function/func.py handler
memory: 256
timeout: 30
";

const HELLO: &str = include_str!("hello.py");

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        dir
    }

    fn unpacked(zip: &[u8]) -> BTreeMap<String, String> {
        let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
        (0..archive.len())
            .map(|index| {
                let mut file = archive.by_index(index).unwrap();
                let name = file.name().unwrap().into_owned();
                let mut content = String::new();
                file.read_to_string(&mut content).unwrap();
                (name, content)
            })
            .collect()
    }

    #[test]
    fn what_a_function_needs_is_packed_and_nothing_else() {
        let files = [
            ("func.py", "print(1)"),
            ("func.yaml", "name: f"),
            ("lib/part.py", "x = 1"),
            ("lib/__pycache__/part.pyc", "no"),
            (".git/config", "no"),
            (".venv/bin/python", "no"),
            ("env/pyvenv.cfg", "no"),
            ("env/lib/a.py", "no"),
            (".gitignore", "*.pyc"),
        ];
        let dir = folder(&files);
        let packed = pack(dir.path()).unwrap();
        let expected =
            [(".gitignore", "*.pyc"), ("func.py", "print(1)"), ("func.yaml", "name: f"), ("lib/part.py", "x = 1")];
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect();
        assert_eq!(unpacked(&packed.zip), expected);
        assert_eq!((packed.files, packed.bytes), (4, 25));
        // The same files, written later and in another order, are the same archive.
        let again = folder(&files.iter().rev().copied().collect::<Vec<_>>());
        assert_eq!(pack(again.path()).unwrap().zip, packed.zip);
    }

    #[track_caller]
    fn refused(folder: &Path, says: &[&str]) {
        let error = pack(folder).unwrap_err().to_string();
        says.iter().for_each(|text| assert!(error.contains(text), "{error} does not say {text}"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name() {
        let dir = folder(&[("func.py", "x")]);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("secret")).unwrap();
        refused(dir.path(), &["secret is a link"]);
        refused(&dir.path().join("nowhere"), &["cannot read", "nowhere"]);

        // Too large as a folder, though it would pack to little; and too large packed.
        let dir = folder(&[("func.py", "x")]);
        let big = std::fs::File::create(dir.path().join("zeros")).unwrap();
        big.set_len(FOLDER_BYTES_MAX).unwrap();
        refused(dir.path(), &["more than 64", "zeros"]);
        big.set_len(0).unwrap();
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(ARCHIVE_BYTES_MAX + 1)
        .collect();
        std::fs::write(dir.path().join("noise"), noise).unwrap();
        refused(dir.path(), &["packs to", "requirements.txt"]);
    }

    #[test]
    fn a_new_function_is_written_where_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("hello-1");
        init(&folder).unwrap();
        let yaml = std::fs::read_to_string(folder.join("func.yaml")).unwrap();
        assert!(yaml.contains("name: hello-1\n") && yaml.contains("runtime: python\n"), "{yaml}");
        assert!(std::fs::read_to_string(folder.join("func.py")).unwrap().contains("def handler(ctx, data"));
        assert_eq!(pack(&folder).unwrap().files, 3);
        std::fs::remove_file(folder.join("func.py")).unwrap();
        let error = init(&folder).unwrap_err().to_string();
        assert!(error.contains("func.yaml exists"), "{error}");
        assert!(!folder.join("func.py").exists(), "all or nothing");
        for bad in ["a b", "..", "a/-x", ""] {
            assert_eq!(init(&dir.path().join(bad)).unwrap_err().exit_status(), 2, "{bad:?}");
        }
    }
}
