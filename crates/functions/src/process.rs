//! One process of a function: the FDK with the user's code, from its start to its end.
//!
//! A process has one owner, the task that serves its function's queue (`function`), so nothing here is shared and
//! nothing is locked. Its output is read at least every 25 ms while it serves a call, so that it hardly ever waits for us,
//! and whenever it writes once the call lasts longer; its memory is looked at all the time. A call ends with an answer, or
//! with the process.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use egress::{Exchange, Lane};
use event::Time;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use crate::Shared;
use crate::folders::ProcessFolders;
use crate::function::Order;
use crate::http::{self, CallError, Socket};
use crate::limits::{
    DRAIN_BYTES_MAX, FILE_BYTES_MAX, LINES_PENDING_FOR, LINES_PENDING_MAX, OPEN_FILES_MAX, OUTPUT_BYTES_MAX,
    TERM_GRACE, TREE_PROCESSES_MAX, WATCH_EVERY, WATCH_IDLE_EVERY, WATCH_TREE_EVERY,
};
use crate::lines::{FRAME_NAME, Origin, Output};
use crate::log::Stream;
use crate::pipe::Pipe;
use crate::sandbox::{Cage, Rules};
use crate::spawn::{Child, Plan};
use crate::spec::{Answer, Call, CallReport, InvokeError, Spec};
use crate::verdict::{Ended, Request, Seen, judge};

/// A running process.
pub(crate) struct Process {
    shared: Arc<Shared>,
    child: Child,
    socket: Socket,
    meter: Meter,
    output: Output,
    /// What pipes are read into.
    buffer: Box<[u8]>,
    /// When its memory is looked at: during a call, and between calls.
    tick: Interval,
    idle_tick: Interval,
    open: [bool; 2],
    /// Its way out, which remembers what went through it.
    lane: Option<Lane>,
    folders: ProcessFolders,
    version: String,
}

/// What a call came to.
pub(crate) struct Done {
    pub answer: Result<Answer, InvokeError>,
    pub report: CallReport,
    /// Whether the process can take another call.
    pub keep: bool,
}

impl Process {
    /// Starts a process and waits until it listens. An error says why it does not.
    pub(crate) async fn start(shared: Arc<Shared>, spec: &Spec) -> Result<Process, String> {
        let version = spec.version.clone().unwrap_or_default();
        let code = shared.folders.version(&spec.id, &version).filter(|dir| dir.is_dir());
        let code = code.ok_or_else(|| format!("its version {version:?} is not installed"))?;
        let folders = shared.folders.process().map_err(|error| format!("its folders cannot be made: {error}"))?;
        let lane = shared.settings.egress.as_ref().map(|egress| egress.lane());
        let plan =
            plan(&shared, spec, &code, &folders, lane.as_ref()).map_err(|error| format!("its sandbox: {error}"))?;
        let ready = Ready::watch(&folders.socket).map_err(|error| format!("its socket cannot be watched: {error}"))?;
        let child = shared.spawner.spawn(plan).await.map_err(|error| format!("it cannot be started: {error}"))?;
        let (mut tick, mut idle_tick) = (tokio::time::interval(WATCH_EVERY), tokio::time::interval(WATCH_IDLE_EVERY));
        for interval in [&mut tick, &mut idle_tick] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let (id, name) = (spec.id.as_str().into(), spec.name.as_str().into());
        let (app_id, app_name) = (spec.app_id.as_str().into(), spec.app_name.as_str().into());
        let mut starting = Starting {
            child,
            output: Output::new(Origin { function_id: id, function_name: name, app_id, app_name }),
            buffer: vec![0; 64 << 10].into(),
            open: [true; 2],
        };
        match starting.until_ready(&shared, &ready).await {
            Ok(socket) => {
                let Starting { child, output, buffer, open } = starting;
                let meter = Meter::of(child.pid());
                let mut process = Process {
                    shared,
                    child,
                    socket,
                    meter,
                    output,
                    buffer,
                    tick,
                    idle_tick,
                    open,
                    lane,
                    folders,
                    version,
                };
                process.flush();
                Ok(process)
            }
            Err(why) => {
                starting.child.reap().await;
                starting.drain(&shared);
                starting.output.finish_lines((shared.settings.now)());
                let lines = starting.output.take_pending();
                let last: Vec<&str> = lines
                    .iter()
                    .filter(|line| line.stream == Stream::Stderr && !line.message.trim().is_empty())
                    .map(|line| line.message.as_str())
                    .collect();
                let mut why = why;
                for line in &last[last.len().saturating_sub(3)..] {
                    let _ = write!(why, "; {line}");
                }
                if !lines.is_empty() {
                    shared.sink.write(lines);
                }
                Err(why)
            }
        }
    }

    /// One call.
    pub(crate) async fn call(
        &mut self,
        spec: &Spec,
        call: Call,
        call_id: Arc<str>,
        orders: &mut watch::Receiver<Order>,
    ) -> Done {
        let now = self.shared.settings.now.clone();
        // What is in the pipes by now is not this call's.
        self.drain();
        let _ = self.requests();
        let (began, started) = (now(), Instant::now());
        self.output.begin(call_id.clone(), call.hops);
        self.output.platform("Received function invocation request".to_owned(), began);
        let deadline = began.saturating_add_nanos(spec.timeout.as_nanos() as i64);
        let content_type =
            call.content_type.as_deref().filter(|text| http::is_header_value(text)).unwrap_or("application/json");
        let head = http::head(&call_id, &deadline.to_string(), content_type, call.body.len(), &call.headers);

        let end = self.run(spec, &head, &call, started, orders).await;
        let took = started.elapsed();

        let mut answered = None;
        let mut error = None;
        match end {
            End::Answered(response) if matches!(response.status, 200 | 502 | 504) => answered = Some(response),
            End::Answered(response) => {
                let status = response.status;
                error =
                    Some(InvokeError::Killed { why: format!("it answered with status {status}, which is no FDK's") });
            }
            End::Broken(CallError::TooLarge) => error = Some(InvokeError::TooLarge { what: "answer" }),
            End::Broken(broken) => error = Some(InvokeError::Killed { why: self.how_it_broke(&broken).await }),
            End::TimedOut => error = Some(InvokeError::TimedOut { after: spec.timeout }),
            End::Killed(why) => error = Some(InvokeError::Killed { why }),
            End::Stopped => error = Some(InvokeError::Stopping),
        }
        if error.is_some() {
            self.child.reap().await;
        }
        self.drain();
        self.meter.look();

        let at = now();
        let said = self.output.end(at).cloned();
        let (error_lines, first_error, cut) =
            said.map_or((0, None, 0), |said| (said.error_lines, said.first_error, said.cut_bytes));
        let requests = self.requests();
        let why = error.as_ref().map(ToString::to_string);
        let ended = match (&answered, &why) {
            (Some(response), _) => Ended::Answered(response.status, &response.body),
            (None, why) => Ended::Broken(why.as_deref().unwrap_or_default()),
        };
        let (state, note) = judge(&Seen {
            ended,
            records: call.records,
            expects: spec.expects,
            error_lines,
            first_error: first_error.as_deref(),
            requests: requests.as_deref(),
        });
        if cut > 0 {
            let kept = OUTPUT_BYTES_MAX;
            self.output.platform(format!("{cut} bytes of output were cut: {kept} are kept per call"), at);
        }
        let status = answered.as_ref().map(|response| response.status);
        let mut served = format!("Served function invocation request in {:.3} seconds", took.as_secs_f64());
        if status != Some(200) {
            let code = match (&error, status) {
                (Some(InvokeError::TimedOut { .. }), _) => 504,
                (_, Some(status)) => status,
                _ => 502,
            };
            let _ = write!(served, " with error code {code} - {}", note.as_deref().unwrap_or_default());
        }
        self.output.platform(served, at);
        self.flush();

        let report = CallReport {
            call_id: call_id.to_string(),
            function: spec.id.clone(),
            version: self.version.clone(),
            by: call.by,
            began,
            took_ms: took.as_secs_f64() * 1e3,
            records: call.records,
            requests: requests.as_ref().map_or(0, |requests| requests.len() as u64),
            requests_failed: requests
                .as_ref()
                .map_or(0, |requests| requests.iter().filter(|request| request.failed()).count() as u64),
            status,
            state,
            note: note.clone(),
            error_lines,
            memory_peak_bytes: self.meter.take_peak(),
        };
        match (answered, error) {
            (Some(response), None) => {
                let http::Response { status, headers, body } = response;
                let answer = Answer { call_id: call_id.to_string(), status, headers, body, state, note };
                Done { answer: Ok(answer), report, keep: true }
            }
            (_, error) => {
                let error = error.unwrap_or(InvokeError::Killed { why: "it did not answer".to_owned() });
                Done { answer: Err(error), report, keep: false }
            }
        }
    }

    /// Sends the request and looks after the process until there is an answer or something else ends it. What ends it
    /// by force is dead when this returns, or about to be.
    async fn run(
        &mut self,
        spec: &Spec,
        head: &str,
        call: &Call,
        started: Instant,
        orders: &mut watch::Receiver<Order>,
    ) -> End {
        let Process { shared, child, socket, meter, output, buffer, tick, open, .. } = self;
        let now = &shared.settings.now;
        // Most calls are over before it is worth while to wait for what they print.
        child.stdout.leave();
        child.stderr.leave();
        let exchange = socket.call(head.as_bytes(), &call.body);
        tokio::pin!(exchange);
        let limit = memory_limit(spec);
        loop {
            // In no fixed order: a function that prints without end must not hide that its time is over.
            tokio::select! {
                result = &mut exchange => break result.map_or_else(End::Broken, End::Answered),
                () = readable(&child.stdout, open[0]) => {
                    open[0] = read(&child.stdout, buffer, |bytes| output.push(Stream::Stdout, bytes, now()));
                }
                () = readable(&child.stderr, open[1]) => {
                    open[1] = read(&child.stderr, buffer, |bytes| output.push(Stream::Stderr, bytes, now()));
                }
                _ = tick.tick() => {
                    if started.elapsed() >= spec.timeout {
                        child.kill();
                        break End::TimedOut;
                    }
                    if let Some(why) = meter.over(limit, spec.memory_mib) {
                        child.kill();
                        break End::Killed(why);
                    }
                    if !child.stdout.is_watched() {
                        drain(child, output, buffer, now);
                    }
                    if started.elapsed() >= WATCH_EVERY {
                        child.stdout.watch();
                        child.stderr.watch();
                    }
                    flush_if_due(shared, output, now());
                }
                why = ordered_to_end(orders) => {
                    child.kill();
                    break why;
                }
            }
            if output.pending().0 >= LINES_PENDING_MAX {
                shared.sink.write(output.take_pending());
            }
        }
    }

    /// Looks after the process between calls; returns why it cannot go on.
    ///
    /// May be dropped at any time: nothing is half done at an await.
    pub(crate) async fn idle(&mut self, spec: &Spec) -> String {
        loop {
            let Process { shared, child, meter, output, buffer, tick, idle_tick, open, .. } = self;
            let now = &shared.settings.now;
            let unwatched = !child.stdout.is_watched() || !child.stderr.is_watched();
            tokio::select! {
                () = readable(&child.stdout, open[0]) => {
                    open[0] = read(&child.stdout, buffer, |bytes| output.push(Stream::Stdout, bytes, now()));
                }
                () = readable(&child.stderr, open[1]) => {
                    open[1] = read(&child.stderr, buffer, |bytes| output.push(Stream::Stderr, bytes, now()));
                }
                () = child.exited() => return "it ended between calls".to_owned(),
                // Where one call follows the other, it does not come to this.
                _ = tick.tick(), if unwatched => {
                    drain(child, output, buffer, now);
                    child.stdout.watch();
                    child.stderr.watch();
                }
                _ = idle_tick.tick() => {
                    if let Some(why) = meter.over(memory_limit(spec), spec.memory_mib) {
                        return why;
                    }
                }
            }
            self.flush();
        }
    }

    /// Whether it is dead, noticed or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.child.has_ended()
    }

    /// Says something about the process in its function's log.
    pub(crate) fn say(&mut self, message: String) {
        let now = (self.shared.settings.now)();
        self.output.platform(message, now);
        self.flush();
    }

    /// Ends the process: asks first, if it is well, then kills it and all that it started.
    pub(crate) async fn stop(mut self, gently: bool) {
        if gently {
            self.child.terminate();
            let _ = tokio::time::timeout(TERM_GRACE, self.child.exited()).await;
        }
        self.child.reap().await;
        self.drain();
        let now = (self.shared.settings.now)();
        self.output.finish_lines(now);
        self.flush();
        // Its temporary files may be many.
        let folders = self.folders;
        let _ = tokio::task::spawn_blocking(move || drop(folders)).await;
    }

    /// Why a connection broke: usually because the process ended, and then how.
    async fn how_it_broke(&mut self, broken: &CallError) -> String {
        const A_MOMENT: Duration = Duration::from_millis(500);
        match tokio::time::timeout(A_MOMENT, self.child.exited()).await {
            Ok(()) => match self.child.reap().await {
                Some(status) => format!("its process {} before it answered", how(status)),
                None => "its process ended before it answered".to_owned(),
            },
            Err(_) => broken.to_string(),
        }
    }

    fn drain(&mut self) {
        let Process { shared, child, output, buffer, .. } = self;
        drain(child, output, buffer, &shared.settings.now);
    }

    fn flush(&mut self) {
        if self.output.pending().0 > 0 {
            self.shared.sink.write(self.output.take_pending());
        }
    }

    /// What left for third parties since the last time; `None` where nobody looks.
    fn requests(&mut self) -> Option<Vec<Request>> {
        let exchanges = self.lane.as_ref()?.take();
        let request = |exchange: Exchange| {
            let Exchange { method, url, status, error, .. } = exchange;
            let answer = match (error, status) {
                (None, Some(status)) => Ok(status),
                (error, _) => Err(error.unwrap_or_else(|| "not yet".to_owned())),
            };
            Request { method, url, answer }
        };
        Some(exchanges.into_iter().map(request).collect())
    }
}

/// How a call ended.
enum End {
    Answered(http::Response),
    Broken(CallError),
    TimedOut,
    Killed(String),
    Stopped,
}

/// Until somebody says that calls are to end at once.
async fn ordered_to_end(orders: &mut watch::Receiver<Order>) -> End {
    match orders.wait_for(|order| matches!(order, Order::Kill | Order::Remove)).await.as_deref() {
        Ok(Order::Remove) => End::Killed("the function was deleted".to_owned()),
        _ => End::Stopped,
    }
}

/// A process that does not listen yet.
struct Starting {
    child: Child,
    output: Output,
    buffer: Box<[u8]>,
    open: [bool; 2],
}

impl Starting {
    async fn until_ready(&mut self, shared: &Shared, ready: &Ready) -> Result<Socket, String> {
        let Starting { child, output, buffer, open } = self;
        let now = &shared.settings.now;
        let timeout = tokio::time::sleep(shared.settings.init_timeout);
        tokio::pin!(timeout);
        loop {
            tokio::select! {
                seen = ready.made() => {
                    seen.map_err(|error| format!("its socket cannot be watched: {error}"))?;
                    if ready.is() {
                        return Socket::open(&ready.dir);
                    }
                }
                () = readable(&child.stdout, open[0]) => {
                    open[0] = read(&child.stdout, buffer, |bytes| output.push(Stream::Stdout, bytes, now()));
                }
                () = readable(&child.stderr, open[1]) => {
                    open[1] = read(&child.stderr, buffer, |bytes| output.push(Stream::Stderr, bytes, now()));
                }
                () = child.exited() => {
                    return Err(match child.reap().await {
                        Some(status) => format!("its process {} at its start", how(status)),
                        None => "its process ended at its start".to_owned(),
                    });
                }
                () = &mut timeout => {
                    let secs = shared.settings.init_timeout.as_secs_f64();
                    return Err(format!("its process did not listen within {secs} s"));
                }
            }
        }
    }

    fn drain(&mut self, shared: &Shared) {
        let Starting { child, output, buffer, .. } = self;
        drain(child, output, buffer, &shared.settings.now);
    }
}

/// Tells when `lsnr.sock` appears in a folder.
struct Ready {
    dir: std::path::PathBuf,
    inotify: AsyncFd<OwnedFd>,
}

impl Ready {
    fn watch(dir: &Path) -> io::Result<Ready> {
        use std::os::unix::ffi::OsStrExt as _;
        // SAFETY: the call answers a new descriptor, which is ours alone, or an error.
        let inotify = unsafe {
            let fd = libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let path = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
        // SAFETY: the path is a live C string.
        let added =
            unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), libc::IN_CREATE | libc::IN_MOVED_TO) };
        if added < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: an owned descriptor is always the same one, and open until it is dropped.
        let inotify = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) };
        Ok(Ready { dir: dir.to_owned(), inotify: inotify.map_err(|error| error.into_parts().1)? })
    }

    /// Until something was made in the folder.
    async fn made(&self) -> io::Result<()> {
        let mut guard = self.inotify.readable().await?;
        let mut events = [0u8; 4096];
        // SAFETY: the buffer is live and as long as said. What the events say does not matter.
        while unsafe { libc::read(self.inotify.as_raw_fd(), events.as_mut_ptr().cast(), events.len()) } > 0 {}
        guard.clear_ready();
        Ok(())
    }

    fn is(&self) -> bool {
        self.dir.join("lsnr.sock").symlink_metadata().is_ok()
    }
}

async fn readable(pipe: &Pipe, open: bool) {
    // A pipe whose writers are all gone is readable for ever.
    if !open {
        std::future::pending::<()>().await;
    }
    pipe.readable().await;
}

/// Reads once; whether there may be more.
fn read(pipe: &Pipe, buffer: &mut [u8], take: impl FnOnce(&[u8])) -> bool {
    match pipe.try_read(buffer) {
        Ok(0) => false,
        Ok(length) => {
            take(&buffer[..length]);
            true
        }
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Takes what is in both pipes.
fn drain(child: &Child, output: &mut Output, buffer: &mut [u8], now: &Arc<dyn Fn() -> Time + Send + Sync>) {
    child.stdout.drain(buffer, DRAIN_BYTES_MAX, |bytes| output.push(Stream::Stdout, bytes, now()));
    child.stderr.drain(buffer, DRAIN_BYTES_MAX, |bytes| output.push(Stream::Stderr, bytes, now()));
}

fn flush_if_due(shared: &Shared, output: &mut Output, now: Time) {
    if output.pending().1.is_some_and(|since| now.nanos_since(since) >= LINES_PENDING_FOR.as_nanos() as i64) {
        shared.sink.write(output.take_pending());
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn memory_limit(spec: &Spec) -> u64 {
    (u64::from(spec.memory_mib) << 20) / 10 * 11
}

/// How the process is started: the real `fdk` with the function's file, in its own environment and sandbox.
fn plan(
    shared: &Shared,
    spec: &Spec,
    version: &Path,
    folders: &ProcessFolders,
    lane: Option<&Lane>,
) -> io::Result<Plan> {
    let (code, packages) = (version.join("code"), version.join("packages"));
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: &str, value: OsString| {
        env.retain(|(known, _)| *known != *name);
        env.push((name.into(), value));
    };
    set("PATH", "/usr/local/bin:/usr/bin:/bin".into());
    set("LANG", "C.UTF-8".into());
    set("HOME", folders.home.clone().into());
    set("TMPDIR", folders.tmp.clone().into());
    set("PYTHONUNBUFFERED", "1".into());
    set("PYTHONDONTWRITEBYTECODE", "1".into());
    // In the image it is /function:/python.
    let mut path = code.clone().into_os_string();
    path.push(":");
    path.push(&packages);
    set("PYTHONPATH", path);
    for (name, value) in &spec.config {
        set(name, value.into());
    }
    let mut listener = OsString::from("unix:");
    listener.push(folders.socket.join("lsnr.sock"));
    set("FN_FORMAT", "http-stream".into());
    set("FN_LISTENER", listener);
    set("FN_APP_ID", spec.app_id.clone().into());
    set("FN_APP_NAME", spec.app_name.clone().into());
    set("FN_FN_ID", spec.id.clone().into());
    set("FN_FN_NAME", spec.name.clone().into());
    set("FN_MEMORY", spec.memory_mib.to_string().into());
    set("FN_TYPE", "sync".into());
    set("FN_LOGFRAME_NAME", FRAME_NAME.into());
    set("FN_LOGFRAME_HDR", "Fn-Call-Id".into());

    let mut reads = shared.python.reads.clone();
    reads.push(version.to_owned());
    if let Some(lane) = lane {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            set(name, lane.proxy_url().into());
        }
        for name in ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"] {
            set(name, shared.folders.ca().into());
        }
        reads.push(shared.folders.ca());
    }
    let writes = [folders.socket.as_path(), &folders.tmp, &folders.home];
    let cage = Cage::build(
        &Rules {
            reads: &reads,
            writes: &writes,
            executes_own: false,
            connects: shared.settings.egress.as_ref().map(|egress| egress.address().port()),
            // Generous: what counts is watched from outside. It only stops a single huge allocation.
            data_bytes: Some((u64::from(spec.memory_mib) << 21) + (1 << 30)),
            file_bytes: FILE_BYTES_MAX,
            open_files: OPEN_FILES_MAX,
        },
        &shared.sandbox,
    )?;
    let args =
        [packages.join("bin/fdk").into(), code.join(&spec.handler.file).into(), spec.handler.name.clone().into()];
    Ok(Plan { program: shared.python.program.clone(), args: args.into(), env, dir: code, cage })
}

/// How much memory a process and those below it use.
#[derive(Debug)]
struct Meter {
    pid: libc::pid_t,
    /// Kept open: a look is one system call.
    statm: Option<std::fs::File>,
    page: u64,
    looks: u32,
    /// Of the processes below, at the last look at them.
    below: u64,
    processes: usize,
    peak: u64,
}

impl Meter {
    fn of(pid: libc::pid_t) -> Meter {
        // SAFETY: plain question to the C library.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Meter {
            pid,
            statm: std::fs::File::open(format!("/proc/{pid}/statm")).ok(),
            page: u64::try_from(page).unwrap_or(4096),
            looks: 0,
            below: 0,
            processes: 0,
            peak: 0,
        }
    }

    /// Bytes in use now.
    fn look(&mut self) -> u64 {
        let mut text = [0u8; 128];
        let own = self.statm.as_ref().and_then(|statm| statm.read_at(&mut text, 0).ok());
        let now = own.map_or(0, |length| resident_pages(&text[..length]) * self.page) + self.below;
        self.peak = self.peak.max(now);
        now
    }

    /// Looks, and says what is too much, if anything.
    fn over(&mut self, limit: u64, memory_mib: u32) -> Option<String> {
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(WATCH_TREE_EVERY) {
            (self.below, self.processes) = (0, 0);
            self.look_below(self.pid, 0);
        }
        let used = self.look();
        if used > limit {
            return Some(format!("killed: it used {} MiB of memory, its limit is {memory_mib} MiB", used >> 20));
        }
        (self.processes > TREE_PROCESSES_MAX)
            .then(|| format!("killed: it had started {} processes, {TREE_PROCESSES_MAX} are allowed", self.processes))
    }

    /// Adds up what the children use. Orphans are in here, too: the process is made their parent.
    fn look_below(&mut self, pid: libc::pid_t, depth: usize) {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return };
        for task in tasks.flatten() {
            let Ok(children) = std::fs::read_to_string(task.path().join("children")) else { continue };
            for child in children.split_ascii_whitespace().filter_map(|child| child.parse().ok()) {
                self.processes += 1;
                if let Ok(statm) = std::fs::read(format!("/proc/{child}/statm")) {
                    self.below += resident_pages(&statm) * self.page;
                }
                if depth < 8 && self.processes <= TREE_PROCESSES_MAX {
                    self.look_below(child, depth + 1);
                }
            }
        }
    }

    fn take_peak(&mut self) -> u64 {
        std::mem::take(&mut self.peak)
    }
}

/// The second number of `statm`.
fn resident_pages(statm: &[u8]) -> u64 {
    let text = std::str::from_utf8(statm).unwrap_or_default();
    text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_memory_is_seen() {
        let mut meter = Meter::of(std::process::id() as libc::pid_t);
        let before = meter.look();
        assert!(before > 1 << 20, "{before}");
        let held = vec![1u8; 64 << 20];
        assert!(meter.look() >= before + (48 << 20), "{} of {}", meter.look(), held.len());
        assert!(meter.over(u64::MAX, 1).is_none());
        assert!(meter.over(1, 1).unwrap().contains("its limit is 1 MiB"));
    }
}
