//! Starts the server, says where it is, and stops it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use commit::{Disk, LogState};
use dialects::Router;
use dialects::snapshot::IntakeKey;
use event::{IdSource, Position, Time, limits};
use receive::{Budget, Front, Googleapis, Guesses, Ledger, Listener, Memory, Nothing};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::api::{Api, Ca, SEARCHES_MAX};
use crate::ca;
use crate::components::Answers;
use crate::config::{Config, OnInvalid, SERVE_API, Sync, Tls, UdmValidation};
use crate::control::{Control, ControlError, Settings};
use crate::hosted::Hosted;
use crate::listeners::{self, More, Place, Ready};
use crate::metadata::Metadata;
use crate::own_logs::{self, OwnLogs};
use crate::pipeline::{Clock, Pipeline};
use crate::rates::{Rates, SAMPLE_EVERY};
use crate::state;

/// A running server.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its URL, which key files name.
    pub url: String,
    /// Where programs find it that believe to speak with Google.
    pub googleapis: Option<SocketAddr>,
    /// Where it answers as a metadata server.
    pub metadata: Option<SocketAddr>,
    /// Where else it listens.
    pub places: Vec<Place>,
    /// Documents and their snapshot.
    pub control: Arc<Control>,
    /// The stages.
    pub pipeline: Arc<Pipeline>,
    functions: Hosted,
    own_logs: OwnLogs,
    is_new: bool,
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
    sampling: JoinHandle<()>,
    token_file: Option<PathBuf>,
    _lock: DirectoryLock,
}

/// What a server is started with beside its configuration; tests give their own.
#[derive(Default)]
pub struct Parts {
    /// The log's disk.
    pub disk: Option<Arc<dyn Disk>>,
    /// Leave the operator token where this user's commands find it.
    pub leave_token: bool,
}

impl Server {
    /// Starts everything, in the order of the flow from its end: what takes records in comes last.
    pub async fn start(config: &Config, parts: Parts) -> anyhow::Result<Server> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        if let Err(error) = receive::server::raise_open_files() {
            tracing::warn!(%error, "cannot raise the limit of open files; fewer connections can be open at once");
        }
        give_back_large_buffers();
        // A write beyond a limit of file sizes is then an error like any other, instead of the end without a word.
        // SAFETY: ignoring a signal has no handler that could run at a bad moment.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        let clock: Clock = Arc::new(now);
        let dir = &config.data;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cannot make the data directory {}", dir.display()))?;
        let lock = DirectoryLock::take(dir)?;
        let is_new = !dir.join("resources.db").exists();

        let tls = config.listen.tls.as_ref().map(|tls| tls_config(tls, "listen.tls")).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = Listener::bind(config.listen.address, tls)
            .with_context(|| format!("cannot listen on {}", config.listen.address))?;
        let address = listener.address()?;
        let url = url_of(config, scheme, address);
        let more = More::bind(config)?;
        let places = more.places()?;
        let googleapis = config.listen.googleapis.as_ref().map(|listen| {
            let googleapis = Arc::new(Googleapis::new(ca::open_or_make(dir, clock())?, Arc::clone(&clock)));
            let listener = Listener::bind_googleapis(listen.address, Arc::clone(&googleapis))
                .with_context(|| format!("cannot listen on {} (listen.googleapis.address)", listen.address))?;
            anyhow::Ok((listener, googleapis))
        });
        let (googleapis, ca) = match googleapis.transpose()? {
            Some((listener, googleapis)) => {
                let address = listener.address()?;
                (Some((listener, address)), Some(Ca::of(googleapis.authority(), &proxy_url(address))))
            }
            None => (None, None),
        };
        let metadata = config.listen.metadata.as_ref().map(|listen| {
            let listener = Listener::bind(listen.address, None)
                .with_context(|| format!("cannot listen on {} (listen.metadata.address)", listen.address))?;
            let address = listener.address()?;
            anyhow::Ok((listener, address, listen.account.as_str()))
        });
        let metadata = metadata.transpose()?;

        let schema = udm::Schema::load();
        let control = Control::open(dir, settings(config, schema), Some(&url), clock())?;
        let control = Arc::new(control);
        let metadata = metadata.map(|(listener, address, account)| {
            anyhow::Ok((listener, address, Metadata::new(account, &control, &clock)?))
        });
        let metadata = metadata.transpose()?;
        let (own_logs, entries) = OwnLogs::new();
        let functions = Hosted::start(config, &clock, &own_logs).await?;
        control
            .fail_interrupted_installations(clock())
            .map_err(|refusal| anyhow::anyhow!("cannot read the functions: {}", refusal.message))?;
        functions
            .apply(&control)
            .await
            .map_err(|refusal| anyhow::anyhow!("cannot start the functions: {}", refusal.message))?;
        if let Some(running) = functions.running() {
            running.sweep().await;
        }
        let pipeline = Pipeline::start(config, dir, parts.disk, &control, &clock, &functions, &own_logs)?;
        // One that has no place in deliver.db although it was made before this start has lost it: it begins at the oldest,
        // since delivering twice is better than not at all.
        let mut connectors = control.connectors()?;
        for connector in &mut connectors {
            connector.start = deliver::Start::Oldest;
        }
        pipeline.deliver.apply(connectors).await.context("cannot start the connectors")?;
        pipeline.retain();
        let pipeline = Arc::new(pipeline);
        set_aside_what_harms(&pipeline, &control, &clock);

        let ledger = Arc::new(Ledger::default());
        let memory = Memory::new(config.limits.memory_bytes);
        let rates = Arc::new(Rates::default());
        let searches = Arc::new(Semaphore::new(SEARCHES_MAX));
        let api = Api {
            control: Arc::clone(&control),
            pipeline: Arc::clone(&pipeline),
            ledger: Arc::clone(&ledger),
            memory: memory.clone(),
            rates: Arc::clone(&rates),
            clock: Arc::clone(&clock),
            started: clock(),
            url: url.clone(),
            sync: match config.log.sync {
                Sync::Always => "always".to_owned(),
                Sync::EveryMillis(millis) => format!("every {millis} ms: replies can come before records are safe"),
            },
            searches: Arc::clone(&searches),
            reparses: Arc::new(Semaphore::new(1)),
            store_at_start: pipeline.at_start.clone(),
            ca,
            functions: functions.clone(),
            own_logs: own_logs.clone(),
        };
        let front = Front {
            router: Arc::new(Router::new(dialects::all())?),
            snapshot: Arc::clone(control.snapshot()),
            log: pipeline.log.clone(),
            memory,
            answers: Budget::new(limits::ANSWERS_BYTES),
            wait_max: Duration::from_millis(config.limits.wait_max_ms),
            guesses: Arc::new(Guesses::default()),
            ledger: Arc::clone(&ledger),
            own: Arc::new(api),
            components: Arc::new(Answers {
                control: Arc::clone(&control),
                pipeline: Arc::clone(&pipeline),
                clock: Arc::clone(&clock),
                searches,
                parsers: Arc::new(Semaphore::new(event::limits::RUN_PARSERS_MAX)),
                functions: functions.clone(),
            }),
            now: Arc::clone(&clock),
            ids: Arc::new(Mutex::new(IdSource::default())),
            random: Arc::new(rand::random::<u64>),
        };
        tokio::spawn(own_logs::write(front.clone(), entries));
        let (stop, stopping) = watch::channel(false);
        let connections_max = config.limits.connections_max.min(Semaphore::MAX_PERMITS);
        let seats = Arc::new(Semaphore::new(connections_max));
        let syslog_seats = Arc::new(Semaphore::new(connections_max.div_ceil(2)));
        let spawn = |listener: Listener, front: Front| {
            tokio::spawn(listener.serve(Arc::new(front), Arc::clone(&seats), stopping.clone(), DRAIN_MAX))
        };
        let mut serving = Vec::new();
        let googleapis = googleapis.map(|(listener, address)| {
            // Who believes to speak with Google has no business with our own API, and no way to mean it.
            let router = Arc::new(Router::new(dialects::googles())?);
            serving.push(spawn(listener, Front { own: Arc::new(Nothing), router, ..front.clone() }));
            anyhow::Ok(address)
        });
        let googleapis = googleapis.transpose()?;
        let metadata = match metadata {
            Some((listener, address, metadata)) => {
                let router = Arc::new(Router::new(Vec::new())?);
                serving.push(spawn(listener, Front { router, own: Arc::new(metadata), ..front.clone() }));
                Some(address)
            }
            None => None,
        };
        for ready in more.ready(&front)? {
            serving.push(match ready {
                Ready::Http(listener, front) => spawn(listener, front),
                Ready::Syslog(listener) => {
                    let front = Arc::new(front.clone());
                    let (seats, own) = (Arc::clone(&seats), Arc::clone(&syslog_seats));
                    tokio::spawn(listener.serve(front, seats, own, stopping.clone(), DRAIN_MAX))
                }
            });
        }
        for plain in &config.listen.plain_syslog {
            if !control.snapshot().load().intakes.values().any(|intake| intake.id == plain.intake) {
                let (address, intake) = (plain.address, plain.intake.as_str());
                tracing::warn!(%address, intake, "the port is bound to an intake that does not exist; what comes is refused");
            }
        }
        if !config.listen.serve.is_empty() && !config.listen.serve.iter().any(|serve| serve == SERVE_API) {
            tracing::warn!("listen.serve leaves out \"api\": commands cannot reach this server at listen.address");
        }
        serving.push(spawn(listener, listeners::serving(&front, &config.listen.serve)?));
        let sampling = tokio::spawn(async move {
            loop {
                rates.sample(ledger.counts());
                tokio::time::sleep(SAMPLE_EVERY).await;
            }
        });
        let token_file = if parts.leave_token {
            leave_token(&format!("{scheme}://127.0.0.1:{}", address.port()), &control)
        } else {
            None
        };
        Ok(Server {
            address,
            url,
            googleapis,
            metadata,
            places,
            control,
            pipeline,
            functions,
            own_logs,
            is_new,
            stop,
            serving,
            sampling,
            token_file,
            _lock: lock,
        })
    }

    /// Says where the server is and what to try first, on standard output.
    pub fn greet(&self, config: &Config) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let recovered = &self.pipeline.recovered;
        let instances = self.control.list_instances().map_err(anyhow::Error::from)?;
        let instance = instances.first().and_then(|instance| instance["id"].as_str()).unwrap_or_default().to_owned();
        let token = self.control.operator_token_file();
        writeln!(out, "penstock {} listening on {}", env!("CARGO_PKG_VERSION"), self.url)?;
        writeln!(out, "  data directory  {}", config.data.display())?;
        let key_file = self.control.default_key_file();
        if key_file.exists() {
            writeln!(out, "  key file        {}   (role admin, instance {instance})", key_file.display())?;
        } else {
            writeln!(out, "  key file        none; `penstock account create --role admin --out FILE` makes one")?;
        }
        writeln!(out, "  operator token  {}", token.display())?;
        let intake = self.control.default_intake();
        if let Some((file, intake)) = &intake {
            let IntakeKey { log_type, instance, .. } = &**intake;
            writeln!(out, "  intake key      {}   (log type {log_type}, instance {instance})", file.display())?;
        }
        if let Some(address) = self.googleapis {
            let certificate = ca::certificate_file(&config.data);
            let certificate = std::path::absolute(&certificate).unwrap_or(certificate);
            writeln!(out, "  googleapis      programs reach this server in place of Google with")?;
            writeln!(out, "                    export HTTPS_PROXY={}", proxy_url(address))?;
            writeln!(out, "                    export REQUESTS_CA_BUNDLE={}", shell_quoted(&certificate))?;
        }
        if let Some(address) = self.metadata {
            writeln!(out, "  metadata        gives tokens to every program on this machine that is started with")?;
            writeln!(out, "                    export GCE_METADATA_HOST={address} GCE_METADATA_IP={address}")?;
        }
        if let Some(greeting) = self.functions.greeting() {
            writeln!(out, "  functions       {greeting}")?;
        }
        for Place { what, address } in &self.places {
            writeln!(out, "  {what:<16}{address}")?;
        }
        if recovered.cut_bytes > 0 {
            writeln!(
                out,
                "  log recovered   a torn tail of {} bytes was cut; nothing of it was acknowledged",
                recovered.cut_bytes
            )?;
        }
        for (from, to) in &recovered.damaged {
            writeln!(out, "  LOG DAMAGED     {from} to {to} cannot be read; see `penstock log verify`")?;
        }
        if self.is_new {
            let as_to_sekoia = intake.map(|(file, _)| {
                format!(
                    "And one as to Sekoia.io, with the key of an intake:\n\n  \
                     curl -sS {url}/plain -H \"X-SEKOIAIO-INTAKE-KEY: $(cat {file})\" \\\n    \
                     --data-binary '[764008:0] info: 192.0.2.7 wiki.example.com. A IN'\n\n",
                    url = self.url,
                    file = shell_quoted(&file),
                )
            });
            writeln!(
                out,
                "\nSend a first log (Chronicle Ingestion API):\n\n  \
                 curl -sS {url}/v2/unstructuredlogentries:batchCreate \\\n    \
                 -H \"Authorization: Bearer $(cat {token})\" -H 'Content-Type: application/json' \\\n    \
                 -d '{{\"customer_id\": \"{instance}\", \"log_type\": \"BIND_DNS\", \"entries\": [{{\"log_text\": \"26-Feb-2019 \
                 13:35:02.187 client 10.120.20.32#4238: query: altostrat.com IN A + (203.0.113.102)\"}}]}}'\n\n\
                 Another by the Chronicle API, whose logs are base64:\n\n  \
                 curl -sS {url}/v1/projects/penstock/locations/us/instances/{instance}/logTypes/OKTA/logs:import \\\n    \
                 -H \"Authorization: Bearer $(cat {token})\" -d '{{\"inline_source\": {{\"logs\": [{{\"data\": \
                 \"eyJldmVudFR5cGUiOiAidXNlci5zZXNzaW9uLnN0YXJ0IiwgIm91dGNvbWUiOiB7InJlc3VsdCI6ICJTVUNDRVNTIn19\"}}]}}}}'\n\n\
                 {as_to_sekoia}Find the first, as it was sent and by what it means:\n\n  {program} search raw 'altostrat.com'{server}\n  \
                 {program} search udm 'ip = \"10.120.20.32\"'{server}\n",
                url = self.url,
                token = shell_quoted(&token),
                as_to_sekoia = as_to_sekoia.unwrap_or_default(),
                program = program(),
                server = if self.address.port() == 8480 { String::new() } else { format!(" --server {}", self.url) },
            )?;
        }
        writeln!(out, "Ready. Ctrl-C stops.")?;
        out.flush()?;
        Ok(())
    }

    /// Serves until a signal comes or the log fails; then stops.
    pub async fn run(self, mut signals: StopSignals) -> anyhow::Result<()> {
        let mut state = self.pipeline.log.watch_state();
        let failed = async move {
            let state = state.wait_for(|state| matches!(state, LogState::Failed { .. })).await;
            match state.as_deref() {
                Ok(LogState::Failed { reason }) => reason.to_string(),
                _ => std::future::pending().await,
            }
        };
        let failure = tokio::select! {
            _ = signals.terminate.recv() => None,
            _ = signals.interrupt.recv() => None,
            reason = failed => Some(reason),
        };
        if let Some(reason) = &failure {
            tracing::error!(reason, "the log stopped writing; this process ends, a restart recovers");
            // Long enough for a probe to see that the server is not ready, and for searches to finish.
            tokio::time::sleep(FAILED_GRACE).await;
        }
        self.stop().await;
        match failure {
            None => Ok(()),
            Some(reason) => bail!("the log stopped writing: {reason}. Nothing acknowledged is lost; start again"),
        }
    }

    /// Stops: no more connections, requests in flight finish, the stages write what they hold.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.sampling.abort();
        for serving in self.serving {
            let _ = serving.await;
        }
        if let Some(path) = &self.token_file {
            let _ = std::fs::remove_file(path);
        }
        // Connectors before the functions that they call, and both before the log that their last words go to.
        self.pipeline.deliver.stop().await;
        let last_words = async {
            self.functions.stop().await;
            self.own_logs.written().await;
        };
        if tokio::time::timeout(FUNCTIONS_STOP_MAX, last_words).await.is_err() {
            tracing::warn!("functions did not end in time; what they were given is given again at the next start");
        }
        self.pipeline.stop().await;
    }
}

/// Ends the use of a parser that keeps using up what it may use, from the first frame on that nobody has read with it.
fn set_aside_what_harms(pipeline: &Pipeline, control: &Arc<Control>, clock: &Clock) {
    // Not the normaliser itself, which would keep itself alive by this.
    let normaliser = Arc::downgrade(&pipeline.normaliser);
    let (log, control, clock) = (pipeline.log.clone(), Arc::clone(control), Arc::clone(clock));
    pipeline.normaliser.on_trouble(move |trouble| {
        let Some(normaliser) = normaliser.upgrade() else { return };
        let normalise::Trouble { instance, log_type, parser, message } = trouble;
        let changed = normaliser.change(|furthest| {
            let from = match furthest {
                Some(furthest) => Position { offset: furthest.offset + 1, ..furthest },
                None => log.status().durable_to,
            };
            let made = control.set_aside(instance, &log_type, &parser, from, &message, clock());
            // Somebody else was faster, and there is no other schedule to use.
            made.map_err(Some)?.ok_or(None::<ControlError>)
        });
        match changed {
            Ok(()) => tracing::warn!(%instance, log_type, %parser, why = message, "a parser is set aside"),
            Err(None) => {}
            Err(Some(error)) => tracing::error!(%instance, log_type, %parser, %error, "a parser cannot be set aside"),
        }
    });
}

/// The signals that ask for a stop. To be made before anybody is told that the server is ready: until then they end the
/// process at once, and leave its token behind.
pub struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    /// Catches them from now on, for the rest of the process.
    pub fn catch() -> std::io::Result<StopSignals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(StopSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Ends when one of them has come.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// How long requests in flight may take after a stop was asked for; the stages need the rest of [`limits::STOP_MAX`].
const DRAIN_MAX: Duration = Duration::from_millis(1_000);

/// How long functions may take to end, and what they said last to be written.
const FUNCTIONS_STOP_MAX: Duration = Duration::from_millis(1_000);

/// How long a process whose log failed still answers reads.
const FAILED_GRACE: Duration = Duration::from_secs(2);

const _: () = assert!(DRAIN_MAX.as_millis() < limits::STOP_MAX.as_millis() / 2);

/// The wall clock.
pub fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// What of the configuration the snapshot holds.
pub fn settings(config: &Config, schema: Arc<udm::Schema>) -> Settings {
    Settings {
        limits: dialects::snapshot::Limits {
            chronicle_ingestion_body_bytes_max: config.limits.chronicle_ingestion_body_bytes_max,
            chronicle_api_body_bytes_max: config.limits.chronicle_api_body_bytes_max,
            sekoia_body_bytes_max: config.limits.sekoia_body_bytes_max,
            sekoia_event_bytes_max: config.limits.sekoia_event_bytes_max,
            oci_body_bytes_max: config.limits.oci_body_bytes_max,
            ..dialects::snapshot::Limits::default()
        },
        udm_mode: match config.intake.udm_validation {
            UdmValidation::Lenient => udm::Mode::Lenient,
            UdmValidation::Strict => udm::Mode::Strict,
        },
        on_invalid: match config.intake.on_invalid {
            OnInvalid::Refuse => dialects::snapshot::OnInvalid::Refuse,
            OnInvalid::Quarantine => dialects::snapshot::OnInvalid::Quarantine,
        },
        schema,
        oci_region: config.oci.region.clone(),
        oci_runtimes: RUNTIMES.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// What functions may name as their runtime. All of them run on the one Python that `functions.python` names.
const RUNTIMES: [&str; 5] = ["python3.9", "python3.11", "python3.12", "python3.13", "python"];

/// How this server is reached: as set, or at its address; one that listens on all addresses is at least on this machine.
fn url_of(config: &Config, scheme: &str, address: SocketAddr) -> String {
    if let Some(url) = &config.listen.url {
        return url.trim_end_matches('/').to_owned();
    }
    if address.ip().is_unspecified() {
        tracing::warn!(
            %address,
            "listen.url is not set: key files will name this machine's loopback address, which is no use elsewhere"
        );
        return format!("{scheme}://127.0.0.1:{}", address.port());
    }
    format!("{scheme}://{address}")
}

/// How programs on this machine name the googleapis listener as their proxy.
fn proxy_url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("http://127.0.0.1:{}", address.port());
    }
    format!("http://{address}")
}

/// The TLS settings of these files, or what is wrong with them; `setting` is what names them.
pub fn tls_config(Tls { cert, key }: &Tls, setting: &str) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| anyhow::anyhow!("{setting}.cert {}: {error}", cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| anyhow::anyhow!("{setting}.key {}: {error}", key.display()))?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("{setting}: certificate and key do not go together"))?;
    Ok(Arc::new(config))
}

/// Lets buffers of megabytes go back to the system when they are freed. By itself glibc keeps whatever is smaller than the
/// largest that was freed so far (up to 32 MiB), in each thread's arena; a few bodies of 64 MiB then cost as much again.
fn give_back_large_buffers() {
    // SAFETY: it only sets a number, and whatever was allocated before is freed as it was.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES);
    }
}

/// Above a usual body, whose buffers are used again and again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BUFFER_BYTES: libc::c_int = 4 << 20;

fn leave_token(url: &str, control: &Control) -> Option<PathBuf> {
    let path = state::token_file_for(url)?;
    let left = control.operator_token().and_then(|token| Ok(state::leave_token(&path, &token)?));
    match left {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "commands on this machine will need --data or --token");
            None
        }
    }
}

/// This program as it was called, for commands that can be pasted.
pub fn program() -> String {
    let name = std::env::args_os().next().map(PathBuf::from).unwrap_or_else(|| PathBuf::from("penstock"));
    shell_quoted(&name)
}

/// A path as a shell takes it.
pub fn shell_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// How often the lock is tried, and the pause between.
const LOCK_TRIES: u32 = 8;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// One server per data directory: an exclusive lock on a file that names the process.
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock, or says who has it.
    pub fn take(dir: &Path) -> anyhow::Result<DirectoryLock> {
        let path = dir.join("lock");
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        // SAFETY: the descriptor is open for as long as `file` lives.
        let try_lock = || unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0;
        // A process that whoever had it is just starting has it too for a moment, until it becomes another program.
        let locked = (0..LOCK_TRIES).any(|again| {
            if again > 0 {
                std::thread::sleep(LOCK_PAUSE);
            }
            try_lock()
        });
        if !locked {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            bail!(
                "the data directory {} is in use by process {}; stop it first, or give this server another --data",
                dir.display(),
                pid.trim()
            );
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(DirectoryLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_told_who_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(dir.path()).unwrap();
        let second = DirectoryLock::take(dir.path()).err().unwrap().to_string();
        assert!(second.contains(&format!("process {}", std::process::id())), "{second}");
        drop(first);
        DirectoryLock::take(dir.path()).unwrap();
    }

    #[test]
    fn paths_can_be_pasted_into_a_shell() {
        assert_eq!(shell_quoted(Path::new("./penstock-data/keys")), "./penstock-data/keys");
        assert_eq!(shell_quoted(Path::new("/tmp/it's mine")), r"'/tmp/it'\''s mine'");
    }
}
