//! Where the private authority of the googleapis listener is kept: one file with its key and certificate, which is the
//! authority, and beside it a copy of the certificate alone, which programs are told to trust.
//!
//! Made when the listener is first used, and never made again by itself: programs that trust the old one would be turned
//! away by the new one without anybody knowing why. What is damaged is named and left as it is. Both are written whole
//! or not at all, the authority first: a crash in between leaves one without its copy, which the next start makes.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use authority::{Authority, Names};
use event::Time;

use crate::state::write_private;

/// The one domain that it signs for.
const NAMES: Names = Names::Under("googleapis.com");

/// The authority: key and certificate. A secret.
pub fn authority_file(data: &Path) -> PathBuf {
    data.join("keys/googleapis-ca.key.pem")
}

/// The copy of its certificate.
pub fn certificate_file(data: &Path) -> PathBuf {
    data.join("keys/googleapis-ca.pem")
}

/// The authority of a data directory, if it has one.
pub fn open(data: &Path, now: Time) -> anyhow::Result<Option<Authority>> {
    let (path, copy) = (authority_file(data), certificate_file(data));
    let pem = match std::fs::read_to_string(&path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if copy.exists() {
                bail!(
                    "{} is there, but its key is not: {} is missing. Put that back, or remove the certificate to have a \
                     new authority made, which programs must then be told of",
                    copy.display(),
                    path.display()
                );
            }
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let read = Authority::read(&pem, NAMES, now).with_context(|| {
        format!(
            "{} cannot be used. Put a good copy back, or remove it and {} to have a new authority made, which programs \
             must then be told of",
            path.display(),
            copy.display()
        )
    });
    read.map(Some)
}

/// The authority of a data directory; a new one where there is none.
pub fn open_or_make(data: &Path, now: Time) -> anyhow::Result<Authority> {
    let authority = match open(data, now)? {
        Some(authority) => authority,
        None => {
            let authority = Authority::make(NAMES, now)?;
            let path = authority_file(data);
            write_private(&path, authority.to_pem().as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            tracing::info!(path = %path.display(), "made a private certificate authority for googleapis.com");
            authority
        }
    };
    let (copy, pem) = (certificate_file(data), authority.certificate_pem());
    if std::fs::read_to_string(&copy).ok().as_deref() != Some(&pem) {
        write_private(&copy, pem.as_bytes()).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    Ok(authority)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn now() -> Time {
        "2026-11-26T21:00:00Z".parse().unwrap()
    }

    #[test]
    fn it_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path(), now()).unwrap().is_none());
        let made = open_or_make(dir.path(), now()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&authority_file(dir.path())), 0o600);
        let later = Time::from_secs(now().secs() + 86_400).unwrap();
        let again = open_or_make(dir.path(), later).unwrap();
        assert_eq!(again.to_pem(), made.to_pem());
        assert_eq!(open(dir.path(), later).unwrap().unwrap().to_pem(), made.to_pem());
        let copy = std::fs::read_to_string(certificate_file(dir.path())).unwrap();
        assert_eq!(copy, made.certificate_pem());
        assert!(!copy.contains("PRIVATE"));
    }

    #[test]
    fn a_crash_after_its_making_leaves_one_that_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let made = open_or_make(dir.path(), now()).unwrap();
        std::fs::remove_file(certificate_file(dir.path())).unwrap();
        assert_eq!(open_or_make(dir.path(), now()).unwrap().to_pem(), made.to_pem());
        assert_eq!(std::fs::read_to_string(certificate_file(dir.path())).unwrap(), made.certificate_pem());
    }

    #[test]
    fn what_is_damaged_is_named_and_left_as_it_is() {
        let check = |name: &str, damage: &dyn Fn(&Path), expected: &str| {
            let dir = tempfile::tempdir().unwrap();
            open_or_make(dir.path(), now()).unwrap();
            damage(dir.path());
            let files =
                || [authority_file(dir.path()), certificate_file(dir.path())].map(|path| std::fs::read(path).ok());
            let before = files();
            for error in [open(dir.path(), now()).unwrap_err(), open_or_make(dir.path(), now()).unwrap_err()] {
                let text = format!("{error:#}");
                assert!(text.contains(expected) && text.contains("googleapis-ca"), "{name}: {text}");
            }
            assert_eq!(files(), before, "{name}");
        };
        let write = |text: &'static str| move |dir: &Path| std::fs::write(authority_file(dir), text).unwrap();
        check("empty", &write(""), "the key is missing");
        check("rubbish", &write("rubbish"), "the key is missing");
        check("key gone", &|dir| std::fs::remove_file(authority_file(dir)).unwrap(), "its key is not");
        check(
            "half",
            &|dir| {
                let text = std::fs::read_to_string(authority_file(dir)).unwrap();
                std::fs::write(authority_file(dir), &text[..text.len() / 2]).unwrap();
            },
            "the certificate is",
        );
        check(
            "another's certificate",
            &|dir| {
                let text = std::fs::read_to_string(authority_file(dir)).unwrap();
                let key = text.split("-----BEGIN CERTIFICATE").next().unwrap();
                let other = Authority::make(NAMES, now()).unwrap().certificate_pem();
                std::fs::write(authority_file(dir), format!("{key}{other}")).unwrap();
            },
            "do not go together",
        );
        let dir = tempfile::tempdir().unwrap();
        open_or_make(dir.path(), now()).unwrap();
        let error = open_or_make(dir.path(), "2037-01-01T00:00:00Z".parse().unwrap()).unwrap_err();
        assert!(format!("{error:#}").contains("it expired at 2036-11-23T21:00:00Z"), "{error:#}");
    }
}
