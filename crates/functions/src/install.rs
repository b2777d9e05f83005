//! From an archive to a version that can run: unpack, resolve, install, prove, and only then take its place.
//!
//! `fdk` declares as its needs what only its own tests and builds use (pytest, Cython, wheel, pbr, …: 47 MB for 6). So
//! pip is first asked what it would install; of what is there for fdk's sake alone, only what fdk imports is taken, at
//! exactly the versions that pip chose. Then the interpreter has to import fdk and its server from the result. If that
//! fails, everything is installed as pip would have it, and proved again.
//!
//! pip runs in the sandbox, too: it may run setup scripts of anybody. It sees Python, the system's programs, its own
//! staging folder and its cache, and the network.
//!
//! A version is made in a folder of its own, synced, then renamed: it is there whole, or not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::Shared;
use crate::archive::{self, ArchiveError};
use crate::folders;
use crate::limits::{PIP_FILE_BYTES_MAX, PIP_TIME_MAX, VERSIONS_KEPT};
use crate::sandbox::{Cage, Rules};
use crate::spawn::Plan;
use crate::spec::Entry;
use crate::yaml::{FuncYaml, YamlError};

/// What was installed.
#[derive(Debug, Clone, PartialEq)]
pub struct Installed {
    /// The version's id, for [`crate::Spec::version`]. Later ones sort after earlier ones.
    pub version: String,
    /// What the archive's `func.yaml` says, if it has one.
    pub func_yaml: Option<FuncYaml>,
    /// The packages, as `name version`.
    pub packages: Vec<String>,
}

/// Why nothing was installed, sorted by who must act.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The caller: an id that cannot be one.
    #[error("{0:?} cannot be a function's id")]
    Id(String),
    /// The user: the archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The user: its func.yaml.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// The user: no code where it should be.
    #[error("the archive has no {0}")]
    NoHandler(String),
    /// The user: the code does not compile.
    #[error("{file} is no Python: {why}")]
    Syntax {
        /// The file.
        file: String,
        /// What the interpreter says.
        why: String,
    },
    /// The user, or the network: pip.
    #[error("pip could not {what}: {said}")]
    Pip {
        /// What it was to do.
        what: &'static str,
        /// Its last lines.
        said: String,
    },
    /// The user: what was installed does not run.
    #[error("the installed packages cannot run a function: {0}")]
    Proof(String),
    /// The operator: the disk, or processes cannot be started.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What fdk declares, but neither it nor a function imports at run time.
const FDK_DOES_NOT_NEED: [&str; 8] =
    ["pbr", "pytest", "pytest-cov", "pytest-asyncio", "pytest-runner", "cython", "wheel", "setuptools"];

/// What must be importable for a function to be served.
const PROOF: &str =
    "import fdk.scripts.fdk, fdk.event_handler, fdk.runner, fdk.async_http.app, fdk.async_http.protocol";

pub(crate) async fn install(
    shared: &Arc<Shared>,
    function_id: &str,
    archive_zip: Bytes,
    in_use: Option<&str>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Installed, InstallError> {
    let home = shared.folders.function(function_id).ok_or_else(|| InstallError::Id(function_id.to_owned()))?;
    let now = (shared.settings.now)();
    let second: String = now.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
    let version =
        format!("{second}{:03}-{}", now.millis().rem_euclid(1_000), &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let staging = Staging(home.join(format!(".new-{version}")));

    progress("unpacking the archive");
    let unpacked = {
        let staging = staging.0.clone();
        blocking(move || unpack(&archive_zip, &staging)).await?
    };
    let cache = shared.folders.cache(function_id).ok_or_else(|| InstallError::Id(function_id.to_owned()))?;
    let pip = Pip { shared, staging: &staging.0, cache: &cache };
    progress("resolving requirements");
    let resolved = pip.resolve(&unpacked).await?;
    let lean = resolved.needed();
    progress(&format!("installing {} packages", lean.len()));
    pip.install(&lean).await?;
    progress("trying it");
    let mut packages = lean;
    if let Err(why) = pip.prove().await? {
        progress(&format!(
            "installing everything that fdk declares, because {}",
            why.lines().last().unwrap_or_default()
        ));
        packages = resolved.all();
        pip.clear().await?;
        pip.install(&packages).await?;
        pip.prove().await?.map_err(InstallError::Proof)?;
    }
    pip.compile(&unpacked.check).await?;

    let (kept, at) = (version.clone(), home.clone());
    let in_use = in_use.map(str::to_owned);
    blocking(move || {
        sync_tree(&staging.0)
            .map_err(|source| InstallError::Io { what: "the new version cannot be synced".to_owned(), source })?;
        let renamed = std::fs::rename(&staging.0, at.join(&kept)).and_then(|()| std::fs::File::open(&at)?.sync_all());
        renamed
            .map_err(|source| InstallError::Io { what: "the new version cannot take its place".to_owned(), source })?;
        prune(&at, &kept, in_use.as_deref());
        Ok(())
    })
    .await?;
    let packages = packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    Ok(Installed { version, func_yaml: unpacked.func_yaml, packages })
}

/// A version that is being made. Dropped before it was renamed, it is removed.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Unpacked {
    func_yaml: Option<FuncYaml>,
    /// Whether it has a requirements.txt, and whether that names fdk.
    requirements: bool,
    names_fdk: bool,
    /// The file that must compile.
    check: String,
}

fn unpack(zip: &[u8], staging: &Path) -> Result<Unpacked, InstallError> {
    let files = archive::unpack(zip)?;
    let text = |path: &str| {
        let file = files.iter().find(|file| file.path == path)?;
        Some(String::from_utf8_lossy(&file.bytes).into_owned())
    };
    let func_yaml = text("func.yaml").or_else(|| text("func.yml")).map(|text| FuncYaml::parse(&text)).transpose()?;
    let requirements = text("requirements.txt");
    let entry = func_yaml.as_ref().and_then(|yaml| yaml.entry.clone());
    let check = match entry {
        Some(entry) => entry.file,
        None => {
            // Without an entrypoint the function's specification says later which file it is.
            let default = Entry::default().file;
            let first = files.iter().map(|file| &file.path).find(|path| path.ends_with(".py") && !path.contains('/'));
            let has_default = files.iter().any(|file| file.path == default);
            if has_default { default } else { first.cloned().unwrap_or(default) }
        }
    };
    if !files.iter().any(|file| file.path == check) {
        return Err(InstallError::NoHandler(check));
    }
    let names_fdk = requirements.as_deref().is_some_and(names_fdk);
    let code = staging.join("code");
    let write = || -> io::Result<()> {
        folders::make(&code)?;
        for file in &files {
            let path = code.join(&file.path);
            if let Some(parent) = path.parent() {
                folders::make(parent)?;
            }
            std::fs::write(&path, &file.bytes)?;
        }
        Ok(())
    };
    write().map_err(|source| InstallError::Io { what: "the archive cannot be unpacked".to_owned(), source })?;
    Ok(Unpacked { func_yaml, requirements: requirements.is_some(), names_fdk, check })
}

/// Whether a requirements.txt asks for fdk itself.
fn names_fdk(text: &str) -> bool {
    text.lines().any(|line| {
        let name: String =
            line.trim_start().chars().take_while(|char| char.is_alphanumeric() || "-_.".contains(*char)).collect();
        name.eq_ignore_ascii_case("fdk")
    })
}

/// One package that pip chose.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Package {
    /// As it is compared: lower case, dashes.
    name: String,
    version: String,
    /// Where it comes from, where that is no index.
    url: Option<String>,
    /// Whether the user asked for it.
    requested: bool,
    /// The names of what it declares to need.
    needs: Vec<String>,
}

/// All that pip would install.
#[derive(Debug)]
struct Resolved(BTreeMap<String, Package>);

impl Resolved {
    /// Without what only fdk declares and nothing imports.
    fn needed(&self) -> Vec<Package> {
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        let requested = self.0.values().filter(|package| package.requested).map(|package| package.name.as_str());
        let mut open: VecDeque<&str> = requested.chain(["fdk"]).collect();
        while let Some(name) = open.pop_front() {
            let Some(package) = self.0.get(name) else { continue };
            if !taken.insert(&package.name) {
                continue;
            }
            let is_left_out = |need: &&String| name == "fdk" && FDK_DOES_NOT_NEED.contains(&need.as_str());
            open.extend(package.needs.iter().filter(|need| !is_left_out(need)).map(String::as_str));
        }
        self.0.values().filter(|package| taken.contains(package.name.as_str())).cloned().collect()
    }

    fn all(&self) -> Vec<Package> {
        self.0.values().cloned().collect()
    }

    fn read(report: &[u8]) -> serde_json::Result<Resolved> {
        #[derive(Deserialize)]
        struct Report {
            install: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            metadata: Metadata,
            #[serde(default)]
            requested: bool,
            #[serde(default)]
            is_direct: bool,
            #[serde(default)]
            requested_extras: Vec<String>,
            download_info: Download,
        }
        #[derive(Deserialize)]
        struct Metadata {
            name: String,
            version: String,
            #[serde(default)]
            requires_dist: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Download {
            url: String,
        }
        let report: Report = serde_json::from_slice(report)?;
        let packages = report.install.into_iter().map(|item| {
            let Item { metadata, requested, is_direct, requested_extras, download_info } = item;
            // Conditions are not evaluated: a need whose condition does not hold is not among the packages. Only those
            // of extras that nobody asked for would lead to packages that are there for another reason.
            let needs = metadata.requires_dist.iter().filter(|need| {
                let extra = need.split_once(';').and_then(|(_, condition)| condition.split_once("extra"));
                extra.is_none_or(|(_, which)| requested_extras.iter().any(|extra| which.contains(extra.as_str())))
            });
            let needs = needs.map(|need| normal(need)).collect();
            let name = normal(&metadata.name);
            let url = is_direct.then_some(download_info.url);
            (name.clone(), Package { name, version: metadata.version, url, requested, needs })
        });
        Ok(Resolved(packages.collect()))
    }
}

/// A requirement's name as packages are compared by: `Typing_Extensions>=4` is `typing-extensions`.
fn normal(requirement: &str) -> String {
    let name = requirement.trim().chars().take_while(|char| char.is_ascii_alphanumeric() || "-_.".contains(*char));
    let mut normal = String::new();
    for char in name {
        match char {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            other => normal.push(other.to_ascii_lowercase()),
        }
    }
    normal
}

/// pip, for one version that is being made.
struct Pip<'a> {
    shared: &'a Arc<Shared>,
    staging: &'a Path,
    cache: &'a Path,
}

struct Ran {
    ok: bool,
    /// The last lines of both streams, those of stderr after those of stdout.
    said: String,
}

impl Pip<'_> {
    async fn resolve(&self, unpacked: &Unpacked) -> Result<Resolved, InstallError> {
        let report = self.staging.join("report.json");
        let mut args = pip_args(&["install", "--dry-run", "--ignore-installed", "--quiet", "--report"]);
        args.push(report.clone().into());
        if unpacked.requirements {
            args.extend(["-r".into(), "requirements.txt".into()]);
        }
        if !unpacked.names_fdk {
            args.push("fdk".into());
        }
        self.pip("resolve the requirements", args).await?;
        let (what, text) = ("resolve the requirements", std::fs::read(&report));
        let text =
            text.map_err(|source| InstallError::Io { what: "pip's report cannot be read".to_owned(), source })?;
        let _ = std::fs::remove_file(&report);
        Resolved::read(&text).map_err(|error| InstallError::Pip { what, said: format!("its report: {error}") })
    }

    async fn install(&self, packages: &[Package]) -> Result<(), InstallError> {
        let list = self.staging.join("pinned.txt");
        let lines: Vec<String> = packages
            .iter()
            .map(|package| match &package.url {
                Some(url) => format!("{} @ {url}\n", package.name),
                None => format!("{}=={}\n", package.name, package.version),
            })
            .collect();
        std::fs::write(&list, lines.concat())
            .map_err(|source| InstallError::Io { what: "the list of packages cannot be written".to_owned(), source })?;
        let mut args = pip_args(&["install", "--no-deps", "--ignore-installed", "--quiet", "--target"]);
        args.extend([self.staging.join("packages").into(), "-r".into(), list.clone().into()]);
        let done = self.pip("install the packages", args).await;
        let _ = std::fs::remove_file(&list);
        done
    }

    async fn clear(&self) -> Result<(), InstallError> {
        let packages = self.staging.join("packages");
        blocking(move || match std::fs::remove_dir_all(&packages) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(InstallError::Io { what: "the packages cannot be removed".to_owned(), source })
            }
            _ => Ok(()),
        })
        .await
    }

    /// Whether fdk can be imported from what was installed, else why not.
    async fn prove(&self) -> Result<Result<(), String>, InstallError> {
        let ran = self.python(vec!["-c".into(), PROOF.into()]).await?;
        Ok(if ran.ok { Ok(()) } else { Err(ran.said) })
    }

    /// Compiles the code, once for all processes: they may not write beside it. Only a fault in the handler's own file
    /// is one.
    async fn compile(&self, check: &str) -> Result<(), InstallError> {
        let ran = self.python(vec!["-m".into(), "py_compile".into(), check.into()]).await?;
        if !ran.ok {
            let lines: Vec<&str> = ran.said.lines().rev().take(4).collect();
            let why = lines.into_iter().rev().map(str::trim).collect::<Vec<_>>().join("; ");
            return Err(InstallError::Syntax { file: check.to_owned(), why });
        }
        self.python(vec!["-m".into(), "compileall".into(), "-q".into(), ".".into()]).await?;
        Ok(())
    }

    async fn pip(&self, what: &'static str, args: Vec<OsString>) -> Result<(), InstallError> {
        let ran = self.python(args).await?;
        if ran.ok { Ok(()) } else { Err(InstallError::Pip { what, said: ran.said }) }
    }

    /// Runs the interpreter in the folder of the code.
    async fn python(&self, args: Vec<OsString>) -> Result<Ran, InstallError> {
        let run = async {
            let shared = self.shared;
            let folders = shared.folders.process()?;
            let mut env: Vec<(OsString, OsString)> = [
                ("PATH", OsString::from("/usr/local/bin:/usr/bin:/bin")),
                ("LANG", "C.UTF-8".into()),
                ("PYTHONUNBUFFERED", "1".into()),
                ("PYTHONNOUSERSITE", "1".into()),
                ("PYTHONPATH", self.staging.join("packages").into()),
                ("PIP_DISABLE_PIP_VERSION_CHECK", "1".into()),
                ("PIP_NO_INPUT", "1".into()),
                ("PIP_ROOT_USER_ACTION", "ignore".into()),
                ("PIP_PROGRESS_BAR", "off".into()),
            ]
            .into_iter()
            .map(|(name, value)| (OsString::from(name), value))
            .collect();
            let theirs = &shared.settings.install_env;
            env.extend(theirs.iter().map(|(name, value)| (name.into(), value.into())));
            env.push(("PIP_CACHE_DIR".into(), self.cache.into()));
            env.push(("HOME".into(), folders.home.clone().into()));
            env.push(("TMPDIR".into(), folders.tmp.clone().into()));

            let mut reads = shared.python.reads.clone();
            let system =
                ["/bin", "/sbin", "/usr", "/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl", "/etc/pki", "/etc/passwd"];
            reads.extend(system.iter().map(PathBuf::from));
            reads.extend(theirs.iter().flat_map(|(_, value)| paths_in(value)));
            folders::make(self.cache)?;
            let writes = [self.staging, self.cache, &folders.tmp, &folders.home, &folders.socket];
            let cage = Cage::build(
                &Rules {
                    reads: &reads,
                    writes: &writes,
                    executes_own: true,
                    connects: None,
                    data_bytes: None,
                    file_bytes: PIP_FILE_BYTES_MAX,
                    open_files: 4096,
                },
                &shared.sandbox,
            )?;
            let plan = Plan { program: shared.python.program.clone(), args, env, dir: self.staging.join("code"), cage };
            let mut child = shared.spawner.spawn(plan).await?;
            let work = async {
                let (out, err) = tokio::join!(last_lines(&mut child.stdout), last_lines(&mut child.stderr));
                child.exited().await;
                [out, err].concat()
            };
            let lines = tokio::time::timeout(PIP_TIME_MAX, work).await;
            let in_time = lines.is_ok();
            let status = child.reap().await;
            let lines = lines.unwrap_or_else(|_| vec![format!("it did not end within {} s", PIP_TIME_MAX.as_secs())]);
            let ok = in_time && status.is_some_and(|status| status.success());
            io::Result::Ok(Ran { ok, said: lines.join("\n") })
        };
        run.await.map_err(|source| InstallError::Io { what: "the interpreter cannot be run".to_owned(), source })
    }
}

fn pip_args(args: &[&str]) -> Vec<OsString> {
    ["-m", "pip"].iter().chain(args).map(OsString::from).collect()
}

/// Paths that a setting of pip's names: certificates, folders of wheels.
fn paths_in(value: &str) -> Vec<PathBuf> {
    let parts = value.split(|char: char| char.is_whitespace() || char == ',');
    parts
        .map(|part| part.strip_prefix("file://").unwrap_or(part))
        .filter(|part| part.starts_with('/') && *part != "/")
        .map(PathBuf::from)
        .collect()
}

/// The last lines that are written, until the end.
async fn last_lines(pipe: &mut crate::pipe::Pipe) -> Vec<String> {
    const LINES_MAX: usize = 15;
    let mut lines = VecDeque::new();
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if text.is_empty() {
            continue;
        }
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(text);
    }
    lines.into()
}

/// Syncs all files and folders below.
fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            std::fs::File::open(entry.path())?.sync_all()?;
        }
    }
    std::fs::File::open(path)?.sync_all()
}

/// Removes all but the newest versions. The new one and the one that is being run stay.
fn prune(home: &Path, new: &str, in_use: Option<&str>) {
    let Ok(entries) = std::fs::read_dir(home) else { return };
    let mut versions: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| folders::is_name(name))
        .collect();
    versions.sort();
    let surplus = versions.len().saturating_sub(VERSIONS_KEPT);
    for version in versions.into_iter().take(surplus) {
        if version != new && Some(version.as_str()) != in_use {
            let _ = std::fs::remove_dir_all(home.join(version));
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InstallError> + Send + 'static,
) -> Result<T, InstallError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(InstallError::Io { what: "a task ended early".to_owned(), source: io::Error::other(error) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_fdk_declares_is_left_out() {
        let item = |name: &str, requested: bool, needs: &[&str]| {
            serde_json::json!({
                "metadata": {"name": name, "version": "1", "requires_dist": needs},
                "requested": requested, "is_direct": false, "download_info": {"url": "https://pypi/x"},
            })
        };
        let report = serde_json::json!({"version": "1", "install": [
            item("fdk", true, &["pbr>=5", "iso8601==0.1.12", "pytest>=7", "pytest-asyncio", "httptools>=0.5", "Cython>=3", "wheel"]),
            item("pbr", false, &["setuptools"]),
            item("setuptools", false, &[]),
            item("iso8601", false, &[]),
            item("pytest", false, &["iniconfig", "pluggy", "packaging; python_version > '3'"]),
            item("iniconfig", false, &[]),
            item("pluggy", false, &[]),
            item("packaging", false, &[]),
            item("pytest-asyncio", false, &["pytest"]),
            item("httptools", false, &["Cython==3; extra == 'test'"]),
            item("Cython", false, &[]),
            item("wheel", false, &["packaging"]),
            item("Requests", true, &["urllib3<3", "charset_normalizer", "PySocks; extra == \"socks\""]),
            item("urllib3", false, &[]),
            item("charset-normalizer", false, &[]),
        ]});
        let resolved = Resolved::read(report.to_string().as_bytes()).unwrap();
        let needed: Vec<String> = resolved.needed().into_iter().map(|package| package.name).collect();
        assert_eq!(needed, ["charset-normalizer", "fdk", "httptools", "iso8601", "requests", "urllib3"]);
        assert_eq!(resolved.all().len(), 15);
        // Unless the user asks for it.
        let mut asked = report;
        asked["install"][4]["requested"] = true.into();
        let needed = Resolved::read(asked.to_string().as_bytes()).unwrap().needed();
        assert!(
            ["pytest", "pluggy", "packaging"].iter().all(|name| needed.iter().any(|package| package.name == *name))
        );
    }

    #[test]
    fn requirements_that_name_fdk() {
        for (text, expected) in [
            ("fdk>=0.1.61\nrequests\n", true),
            ("  FDK\n", true),
            ("fdk[x]==1 # c", true),
            ("fdk-extra\n# fdk\nrequests", false),
            ("", false),
        ] {
            assert_eq!(names_fdk(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_newest_versions_stay_and_the_one_in_use() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["1", "2", "3", "4", "5"] {
            folders::make(&dir.path().join(version)).unwrap();
        }
        prune(dir.path(), "5", Some("1"));
        let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["1", "3", "4", "5"]);
    }
}
