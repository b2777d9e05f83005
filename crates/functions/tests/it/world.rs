//! A folder with functions in it, and everything that they log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use event::Time;
use functions::{Answer, Call, CallReport, Functions, InvokeError, LogLine, LogSink, Settings, Spec, Stream};
use tempfile::TempDir;
use tokio::sync::{Notify, OnceCell};

/// The lines of all functions, and somebody to wait for more of them.
#[derive(Default)]
pub struct Sink {
    lines: Mutex<Vec<LogLine>>,
    more: Notify,
}

impl LogSink for Sink {
    fn write(&self, lines: Vec<LogLine>) {
        self.lines.lock().unwrap().extend(lines);
        self.more.notify_waiters();
    }
}

pub struct World {
    pub functions: Arc<Functions>,
    pub sink: Arc<Sink>,
    specs: Mutex<BTreeMap<String, Spec>>,
    packages: PathBuf,
    pub dir: TempDir,
}

pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time::from_nanos(i64::try_from(since.as_nanos()).unwrap())
}

pub fn settings(dir: &Path) -> Settings {
    let mut settings = Settings::new(dir, Arc::new(now));
    // Several tests start processes on few cores.
    settings.init_timeout = Duration::from_secs(60);
    settings.install_env = std::env::vars().filter(|(name, _)| name.starts_with("PIP_")).collect();
    settings
}

impl World {
    /// `None`, and a word about it, where there is no `fdk` to be had.
    pub async fn open() -> Option<World> {
        World::open_with(|_| {}).await
    }

    pub async fn open_with(change: impl FnOnce(&mut Settings)) -> Option<World> {
        let packages = packages().await?;
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(&dir.path().join("functions"));
        change(&mut settings);
        let sink = Arc::new(Sink::default());
        let functions = Arc::new(Functions::open(settings, sink.clone()).unwrap());
        Some(World { functions, sink, specs: Mutex::default(), packages, dir })
    }

    /// Puts a function there, as an installation would leave it, or changes it.
    pub async fn deploy(&self, name: &str, code: &str, change: impl FnOnce(&mut Spec)) {
        let version = self.dir.path().join("functions/code").join(name).join("v1");
        if !version.exists() {
            std::fs::create_dir_all(version.join("code")).unwrap();
            std::fs::write(version.join("code/func.py"), code).unwrap();
            link_tree(&self.packages, &version.join("packages"));
        }
        let mut spec = Spec::new(name, format!("{name}-name"));
        spec.app_id = "app-id".to_owned();
        spec.app_name = "app".to_owned();
        spec.version = Some("v1".to_owned());
        change(&mut spec);
        let specs = {
            let mut specs = self.specs.lock().unwrap();
            specs.insert(name.to_owned(), spec);
            specs.values().cloned().collect()
        };
        self.functions.apply(specs).await;
    }

    pub async fn call(&self, name: &str, body: impl Into<Bytes>) -> Result<Answer, InvokeError> {
        self.functions.invoke(name, call(body)).await
    }

    /// What a function answers that has to answer.
    pub async fn text(&self, name: &str, body: impl Into<Bytes>) -> String {
        let answer = self.call(name, body).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    pub fn report(&self, name: &str) -> CallReport {
        self.functions.calls(name, 1).unwrap().remove(0)
    }

    /// A function's own lines, as `stdout|text` and `stderr|text`.
    pub fn printed(&self, name: &str) -> Vec<String> {
        self.lines(name, |line| line.stream != Stream::Platform)
    }

    /// Our own lines about a function.
    pub fn said(&self, name: &str) -> Vec<String> {
        self.lines(name, |line| line.stream == Stream::Platform)
    }

    fn lines(&self, name: &str, which: impl Fn(&LogLine) -> bool) -> Vec<String> {
        let lines = self.sink.lines.lock().unwrap();
        let of_it = lines.iter().filter(|line| &*line.function_id == name && which(line));
        of_it.map(|line| format!("{:?}|{}", line.stream, line.message).to_lowercase()).collect()
    }

    pub fn all_lines(&self) -> Vec<LogLine> {
        self.sink.lines.lock().unwrap().clone()
    }

    /// Until a line of a function holds a text.
    pub async fn until_line(&self, name: &str, part: &str) {
        loop {
            let more = self.sink.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if self.all_lines().iter().any(|line| &*line.function_id == name && line.message.contains(part)) {
                return;
            }
            more.await;
        }
    }

    /// Until a function has no process any more.
    pub async fn until_gone(&self, name: &str) {
        let mark = format!("FN_FN_ID={name}\0");
        let dir = self.dir.path().join("functions").display().to_string();
        loop {
            let environs = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
                process.file_name().to_str()?.parse::<u32>().ok()?;
                std::fs::read(process.path().join("environ")).ok()
            });
            let text = |environ: Vec<u8>| String::from_utf8_lossy(&environ).into_owned();
            if !environs.map(text).any(|environ| environ.contains(&mark) && environ.contains(&dir)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

pub fn call(body: impl Into<Bytes>) -> Call {
    Call { body: body.into(), by: "invoke".to_owned(), ..Call::default() }
}

/// A folder with `fdk` in it, made by a real installation.
async fn packages() -> Option<PathBuf> {
    static PACKAGES: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    let found = PACKAGES.get_or_init(|| async {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("functions-packages");
        if kept.exists() {
            return Some(kept);
        }
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let functions = Functions::open(settings(dir.path()), Arc::new(Sink::default())).unwrap();
        match functions.install("x", zip(&[("func.py", "")]), &|_| {}).await {
            Ok(installed) => {
                let made = dir.path().join("code/x").join(installed.version).join("packages");
                // Another run may have been faster.
                let _ = std::fs::rename(made, &kept);
                Some(kept)
            }
            Err(error) => {
                eprintln!("SKIPPED: fdk cannot be installed: {error}");
                None
            }
        }
    });
    let found = found.await.clone();
    if found.is_none() {
        eprintln!("SKIPPED: there is no fdk");
    }
    found
}

pub fn zip(files: &[(&str, &str)]) -> Bytes {
    use std::io::Write as _;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, text) in files {
        writer.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner().into()
}

/// The same files under another folder, without copying them.
fn link_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_tree(&entry.path(), &target);
        } else if std::fs::hard_link(entry.path(), &target).is_err() {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
