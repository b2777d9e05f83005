//! Runs users' Python functions through the real `fdk`, as sandboxed processes.
//!
//! ```text
//! install: zip ──▶ archive ──▶ pip ──▶ proof ──▶ <dir>/code/<function>/<version>
//! invoke:  call ──▶ function (queue) ──▶ process (socket, output, memory) ──▶ verdict ──▶ calls.db, log sink
//! ```
//!
//! - A function is what a [`Spec`] says; the control plane hands all of them in with [`Functions::apply`], as often as
//!   they change.
//! - A process serves one call at a time, over a connection of its own; several processes serve one function where the
//!   specification allows it. `process` tells a process's life, `function` who gets the next one.
//! - A call is ok, failed or suspicious (`verdict`). Every call that began is kept (`calls`), and every line that it
//!   printed goes to the [`LogSink`] (`lines`).
//! - What a process may touch is in `sandbox`; where things lie is in `folders`.
//!
//! Linux only: it rests on Landlock, pidfds, inotify and `/proc`. Absent on purpose: other languages than Python,
//! container images, freezing idle processes (Fn does it after 50 ms; an idle FDK costs nothing but its memory), and a
//! limit on temporary files together (each file has one).

mod archive;
mod calls;
mod folders;
mod function;
mod http;
mod install;
mod limits;
mod lines;
mod log;
mod pipe;
mod process;
mod python;
mod sandbox;
mod spawn;
mod spec;
mod verdict;
mod yaml;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use egress::Egress;
use event::Time;
use tokio::sync::Semaphore;

pub use archive::ArchiveError;
pub use install::{InstallError, Installed};
pub use limits::{ARCHIVE_BYTES_MAX, BODY_BYTES_MAX, LINE_BYTES_MAX, OUTPUT_BYTES_MAX};
pub use log::{LogLine, LogSink, Stream};
pub use sandbox::Sandbox;
pub use spec::{Answer, Call, CallReport, Entry, Expects, FunctionCounts, InvokeError, Spec, State};
pub use yaml::{FuncYaml, YamlError};

use calls::Calls;
use folders::Folders;
use function::{Function, Order};
use python::Python;
use spawn::Spawner;

/// How functions are run.
#[derive(Clone)]
pub struct Settings {
    /// Everything of theirs lies in here.
    pub dir: PathBuf,
    /// The Python that runs them: a program's name or path.
    pub python: PathBuf,
    /// The proxy that functions are pointed at, which sees what they send. With one, they have no other way out by TCP.
    pub egress: Option<Arc<Egress>>,
    /// How long a process may take until it listens.
    pub init_timeout: Duration,
    /// Reports kept per function.
    pub calls_kept: usize,
    /// Processes of all functions together.
    pub processes_max: usize,
    /// What pip finds in its environment besides our own: `PIP_INDEX_URL`, proxies, ….
    pub install_env: Vec<(String, String)>,
    /// What time it is.
    pub now: Arc<dyn Fn() -> Time + Send + Sync>,
}

impl Settings {
    /// The defaults.
    pub fn new(dir: impl Into<PathBuf>, now: Arc<dyn Fn() -> Time + Send + Sync>) -> Settings {
        Settings {
            dir: dir.into(),
            python: "python3".into(),
            egress: None,
            init_timeout: Duration::from_secs(10),
            calls_kept: 10_000,
            processes_max: 64,
            install_env: Vec::new(),
            now,
        }
    }
}

/// Why functions cannot be run, or what is kept of them cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FunctionsError {
    /// The operator: no usable Python.
    #[error("{python} cannot run functions: {why}", python = .python.display())]
    Python {
        /// The program as it is set.
        python: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The operator: a folder or file.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The operator: made by a newer Penstock.
    #[error("{path} has format {found}, this Penstock reads up to {known}; use a newer Penstock", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format number.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// The operator: the file of calls.
    #[error("the file of calls: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// All functions.
pub struct Functions {
    shared: Arc<Shared>,
    /// What is done to a function's folder is done one thing at a time.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// A few installations at a time: pip takes all that the machine has, but one that hangs must not keep everybody else's.
    installing: Semaphore,
}

/// What all functions share.
pub(crate) struct Shared {
    settings: Settings,
    python: Python,
    sandbox: Sandbox,
    spawner: Spawner,
    folders: Folders,
    sink: Arc<dyn LogSink>,
    calls: Calls,
    places: Arc<Semaphore>,
    /// How many wait for one of them.
    places_wanted: AtomicUsize,
    functions: RwLock<HashMap<String, Arc<Function>>>,
    /// Those that were taken out, while their last call may still run.
    leaving: Mutex<Vec<Arc<Function>>>,
    stopping: AtomicBool,
}

impl Functions {
    /// Finds Python, makes the folders, ends what an earlier life left. Runs nothing yet.
    pub fn open(settings: Settings, sink: Arc<dyn LogSink>) -> Result<Functions, FunctionsError> {
        let at_dir = |source| FunctionsError::Io { path: settings.dir.clone(), source };
        let python = Python::find(&settings.python)?;
        let folders = Folders::open(&settings.dir).map_err(at_dir)?;
        if let Some(path) = python.reads.iter().find(|path| folders.dir.starts_with(path)) {
            let (python, path, dir) = (settings.python.clone(), path.display(), folders.dir.display());
            let why = format!("functions must see its folder {path}, but {dir} lies in there");
            return Err(FunctionsError::Python { python, why });
        }
        let calls = Calls::open(&folders.dir.join("calls.db"), settings.calls_kept.max(1), (settings.now)())?;
        let spawner = Spawner::start().map_err(at_dir)?;
        if let Some(egress) = &settings.egress {
            // The proxy's alone: nothing else is spoken to, and `requests` reads the whole file for every connection, which
            // with the system's roots in it is 35 ms each.
            folders.write_ca(&egress.ca_pem()).map_err(at_dir)?;
        }
        let shared = Arc::new(Shared {
            python,
            sandbox: Sandbox::of_this_kernel(),
            spawner,
            folders,
            sink,
            calls,
            places: Arc::new(Semaphore::new(settings.processes_max.clamp(1, Semaphore::MAX_PERMITS))),
            places_wanted: AtomicUsize::new(0),
            functions: RwLock::default(),
            leaving: Mutex::default(),
            stopping: AtomicBool::new(false),
            settings,
        });
        Ok(Functions { shared, turns: Mutex::default(), installing: Semaphore::new(limits::INSTALLS_MAX) })
    }

    /// How much of the sandbox this kernel can do.
    pub fn sandbox(&self) -> &Sandbox {
        &self.shared.sandbox
    }

    /// The version of the Python that runs functions, such as `3.11.7`.
    pub fn python_version(&self) -> &str {
        &self.shared.python.version
    }

    /// These are the functions from now on. Processes of what has changed end after their current call; what is not
    /// among them any more ends likewise, but stays on disk until [`Functions::remove`].
    pub async fn apply(&self, specs: Vec<Spec>) {
        let names: HashSet<&str> = specs.iter().map(|spec| spec.id.as_str()).collect();
        let mut functions = self.shared.functions.write().unwrap_or_else(PoisonError::into_inner);
        let mut leaving = self.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.retain(|function| !function.has_ended());
        functions.retain(|id, function| {
            let stays = names.contains(id.as_str());
            if !stays {
                function.order(Order::Retire);
                leaving.push(function.clone());
            }
            stays
        });
        drop(leaving);
        for spec in specs {
            match functions.get(&spec.id) {
                Some(function) => function.apply(spec),
                None => {
                    functions.insert(spec.id.clone(), Function::new(self.shared.clone(), spec));
                }
            }
        }
    }

    /// Installs an archive as a new version of a function. It is run from the next [`Functions::apply`] on that names
    /// it. The newest three versions are kept. `progress` is told what is being done.
    pub async fn install(
        &self,
        function_id: &str,
        archive_zip: Bytes,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Installed, InstallError> {
        let _turn = self.turn(function_id).lock_owned().await;
        let _place = self.installing.acquire().await.expect("the semaphore is never closed");
        let in_use = self.shared.function(function_id).and_then(|function| function.spec().version.clone());
        install::install(&self.shared, function_id, archive_zip, in_use.as_deref(), progress).await
    }

    /// Calls a function and waits for its answer. A call that has begun runs to its end, even if nobody waits any more.
    pub async fn invoke(&self, id: &str, call: Call) -> Result<Answer, InvokeError> {
        if self.shared.stopping.load(Ordering::Relaxed) {
            return Err(InvokeError::Stopping);
        }
        let function = self.shared.function(id).ok_or(InvokeError::Unknown)?;
        function.invoke(call).await
    }

    /// The versions of a function that are installed, the oldest first.
    pub fn versions(&self, id: &str) -> Vec<String> {
        let entries = self.shared.folders.function(id).and_then(|dir| std::fs::read_dir(dir).ok());
        let names = entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut versions: Vec<String> = names.filter(|name| folders::is_name(name)).collect();
        versions.sort();
        versions
    }

    /// The newest calls of a function, newest first. Reads a file: not for the runtime's own threads.
    pub fn calls(&self, id: &str, limit: usize) -> Result<Vec<CallReport>, FunctionsError> {
        self.shared.calls.of(id, limit)
    }

    /// What all functions did, minute by minute, oldest first; the last seven days.
    pub fn counts(&self) -> Vec<FunctionCounts> {
        self.shared.calls.counts(Time::MIN)
    }

    /// As [`Functions::counts`], from a time on.
    pub fn counts_since(&self, from: Time) -> Vec<FunctionCounts> {
        self.shared.calls.counts(from)
    }

    /// Ends a function at once and removes all that is there of it: versions, reports, counts. While a version of it is
    /// being installed, what is on disk goes behind that, and nobody waits for it.
    pub async fn remove(&self, id: &str) {
        let function = self.shared.functions.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        let leaving = self.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for function in leaving.into_iter().filter(|function| function.id() == id).chain(function) {
            function.order(Order::Remove);
            function.ended().await;
        }
        let (shared, turn, id) = (self.shared.clone(), self.turn(id), id.to_owned());
        match turn.clone().try_lock_owned() {
            Ok(_turn) => remove_files(shared, id).await,
            Err(_) => drop(tokio::spawn(async move {
                let _turn = turn.lock_owned().await;
                remove_files(shared, id).await;
            })),
        }
    }

    /// Removes what is on disk of functions that are none (any more): one that was deleted while its code was installed and
    /// the server stopped. For the start, when the functions that there are were applied and nothing is installed yet.
    pub async fn sweep(&self) {
        let shared = self.shared.clone();
        let known: HashSet<String> = shared.all().iter().map(|function| function.id().to_owned()).collect();
        let found = tokio::task::spawn_blocking(move || shared.folders.on_disk()).await.unwrap_or_default();
        for id in found.difference(&known) {
            tracing::info!(function = id, "the code of a function that is none any more is removed");
            self.remove(id).await;
        }
    }

    /// The turn of whoever does something to a function's folder.
    fn turn(&self, id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(id.to_owned()).or_default().clone()
    }

    /// Ends all processes: running calls have a moment to end by themselves. Reports are on disk when this returns.
    pub async fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let functions = self.shared.all();
        for function in &functions {
            function.order(Order::Finish);
        }
        let all_ended = async {
            for function in &functions {
                function.ended().await;
            }
        };
        if tokio::time::timeout(limits::STOP_GRACE, all_ended).await.is_err() {
            for function in &functions {
                function.order(Order::Kill);
            }
            for function in &functions {
                let _ = tokio::time::timeout(limits::STOP_GRACE, function.ended()).await;
            }
        }
        let shared = self.shared.clone();
        let _ = tokio::task::spawn_blocking(move || shared.calls.close()).await;
    }
}

/// Removes a function's versions and reports from the disk.
async fn remove_files(shared: Arc<Shared>, id: String) {
    let removed = tokio::task::spawn_blocking(move || {
        if let Err(error) = shared.calls.remove(&id) {
            tracing::warn!(function = id, %error, "what is kept of a removed function's calls stays");
        }
        let Some(dir) = shared.folders.function(&id) else { return };
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %dir.display(), %error, "the code of a removed function stays");
            }
            _ => {}
        }
        if let Some(cache) = shared.folders.cache(&id) {
            let _ = std::fs::remove_dir_all(cache);
        }
    });
    let _ = removed.await;
}

impl Drop for Functions {
    fn drop(&mut self) {
        // Tasks end, and with the last of them what they share.
        for function in self.shared.all() {
            function.order(Order::Kill);
        }
        self.shared.functions.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Shared {
    /// All functions, those included that were taken out and may still run.
    fn all(&self) -> Vec<Arc<Function>> {
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        functions.values().cloned().chain(leaving).collect()
    }

    fn function(&self, id: &str) -> Option<Arc<Function>> {
        self.functions.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Ends the process that has been idle for longest, of any function but this one.
    fn evict_idle(&self, except: &str) {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        let idle = functions.iter().filter(|(id, _)| id.as_str() != except);
        let longest =
            idle.filter_map(|(_, function)| Some((function.idle_since()?, function))).min_by_key(|(since, _)| *since);
        if let Some((_, function)) = longest {
            function.evict_one();
        }
    }
}
