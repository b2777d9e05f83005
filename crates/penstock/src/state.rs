//! The file by which commands on the same machine find the operator token of a server on loopback: under the user's
//! state directory, mode 0600, removed at a clean stop.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the token of the server at this URL lies, if it is one that this machine could run.
pub fn token_file_for(server: &str) -> Option<PathBuf> {
    let url: http::Uri = server.parse().ok()?;
    let host = url.host()?;
    let is_local = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    if is_local { Some(state_dir()?.join(format!("server-{port}.token"))) } else { None }
}

/// Leaves the token for this user's commands.
pub fn leave_token(path: &Path, token: &str) -> std::io::Result<()> {
    write_private(path, format!("{token}\n").as_bytes())
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path))
        // Without it a power cut could take the file's name back, though somebody was told of its content.
        .and_then(|()| std::fs::File::open(parent_of(path))?.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where this user's programs keep what should outlive them but is no data: `$XDG_STATE_HOME/penstock`, else under
/// `~/.local/state`.
pub fn state_dir() -> Option<PathBuf> {
    let base = match std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").filter(|dir| !dir.is_empty())?).join(".local/state"),
    };
    Some(base.join("penstock"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_servers_of_this_machine_have_a_token_here() {
        let name =
            |url: &str| token_file_for(url).and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        assert_eq!(name("http://127.0.0.1:8480").as_deref(), Some("server-8480.token"));
        assert_eq!(name("http://localhost:9000").as_deref(), Some("server-9000.token"));
        assert_eq!(name("http://[::1]:9000").as_deref(), Some("server-9000.token"));
        assert_eq!(name("https://logs.example.com"), None);
        assert_eq!(name("http://10.0.0.1:8480"), None);
    }

    #[test]
    fn private_files_are_private_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/token");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
