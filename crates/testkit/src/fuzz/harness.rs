//! Runs one target: chooses inputs, catches panics, watches for hangs and for memory, and makes a finding small.

use std::any::Any;
use std::backtrace::Backtrace;
use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Shown, Target, outline};

/// An input may take this much CPU time; more is a finding.
const SLOW: Duration = Duration::from_secs(2);
/// An input that runs this long by the clock hangs. Nothing can end it but the end of the process.
const HANG: Duration = Duration::from_secs(60);
/// Resident memory of the process beyond which the input that runs is saved and the process ends.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// Inputs that are kept to be changed further, at most: valid ones, and as many others.
const CORPUS_MAX: usize = 1_000;
/// The time is spent on several runs that begin with the seeds again: one that has lost itself in some corner finds
/// less than a new one.
const ROUNDS: u32 = 3;
/// Tries to make a finding smaller.
const SHRINK_RUNS: usize = 3_000;
const SHRINK_TIME: Duration = Duration::from_secs(10);

/// How long, from which seed, and where findings go.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a target runs.
    pub time: Duration,
    /// How many inputs it runs instead, where the outcome must not depend on how fast the machine is.
    pub inputs: Option<u64>,
    /// Decides all inputs.
    pub seed: u64,
    /// Where inputs that fail are saved.
    pub dir: PathBuf,
    /// Run this input only.
    pub replay: Option<PathBuf>,
    /// Inputs beside the target's own seeds: the files in `corpus/TARGET`, former findings above all.
    pub corpus: Option<PathBuf>,
}

impl Settings {
    /// As the environment says (see the module's page).
    pub fn from_env() -> Settings {
        let number = |name: &str, otherwise| {
            let text = std::env::var(name).ok();
            text.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
        };
        Settings {
            time: Duration::from_secs(number("PENSTOCK_FUZZ_SECS", 8)),
            inputs: None,
            seed: number("PENSTOCK_FUZZ_SEED", 1),
            dir: std::env::var_os("PENSTOCK_FUZZ_DIR")
                .map_or_else(|| std::env::temp_dir().join("penstock-fuzz"), PathBuf::from),
            replay: std::env::var_os("PENSTOCK_FUZZ_REPLAY").map(PathBuf::from),
            corpus: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")),
        }
    }
}

/// A run without findings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Inputs that were run.
    pub runs: u64,
    /// Inputs that were kept because they showed something new, and were taken as good; of the best round, as below.
    pub valid: usize,
    /// Those that were not.
    pub invalid: usize,
    /// Different things that were shown.
    pub shown: usize,
    /// The longest that an input took by the clock.
    pub slowest: Duration,
    /// The most memory that an input took, where the target counts it.
    pub largest_bytes: Option<usize>,
}

/// An input that fails.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The target.
    pub target: &'static str,
    /// The seed of the run.
    pub seed: u64,
    /// How many inputs were run before it.
    pub runs: u64,
    /// What went wrong: the panic's text or how long it took.
    pub what: String,
    /// Where, as far as it lies in this workspace.
    pub backtrace: String,
    /// The input as it was found.
    pub input: Vec<u8>,
    /// The smallest one found that fails in the same way.
    pub small: Vec<u8>,
    /// Where the small one was saved; the first one lies beside it.
    pub file: Option<PathBuf>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { target, seed, runs, what, backtrace, input, small, file } = self;
        writeln!(f, "fuzz target {target}: {what}")?;
        writeln!(f, "seed {seed}, input {runs}, {} bytes, made small: {} bytes:", input.len(), small.len())?;
        writeln!(f, "  {}", small[..small.len().min(600)].escape_ascii())?;
        if let Some(file) = file {
            writeln!(
                f,
                "replay: PENSTOCK_FUZZ_REPLAY={} cargo test -p testkit --test it list::{target} -- --exact",
                file.display()
            )?;
        }
        f.write_str(backtrace)
    }
}

/// Runs a target over mutations of its seeds until the time is over or an input fails.
pub fn run(target: &Target, settings: &Settings) -> Result<Summary, Box<Finding>> {
    let watch = Watch::default();
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watch = &watch;
        scope.spawn(move || watch.guard(target.name, settings, &is_done));
        let mut summary = Summary::default();
        let result = (0..ROUNDS).try_for_each(|round| Run::new(target, settings, round, watch, &mut summary).run());
        drop(done);
        result.map(|()| summary)
    })
}

/// Runs one input, from a file, without catching anything.
pub fn replay(target: &Target, file: &Path) {
    let input = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let started = Instant::now();
    (target.run)(&input, &mut Shown::default());
    eprintln!("{}: {} bytes, no failure in {:?}", target.name, input.len(), started.elapsed());
}

struct Run<'a> {
    target: &'a Target,
    settings: &'a Settings,
    watch: &'a Watch,
    random: StdRng,
    valid: Vec<Vec<u8>>,
    invalid: Vec<Vec<u8>>,
    shown: HashSet<u64>,
    summary: &'a mut Summary,
}

impl<'a> Run<'a> {
    fn new(
        target: &'a Target,
        settings: &'a Settings,
        round: u32,
        watch: &'a Watch,
        summary: &'a mut Summary,
    ) -> Run<'a> {
        Run {
            target,
            settings,
            watch,
            random: StdRng::seed_from_u64(settings.seed ^ u64::from(round) << 56),
            valid: Vec::new(),
            invalid: Vec::new(),
            shown: HashSet::new(),
            summary,
        }
    }

    fn run(mut self) -> Result<(), Box<Finding>> {
        let started = Instant::now();
        for seed in self.target.seeds.iter().cloned().chain(files(self.settings, self.target.name)) {
            let is_valid = self.try_input(&seed)?.is_valid;
            self.keep(seed, is_valid);
        }
        let first = self.summary.runs;
        let goes_on = |runs: u64| match self.settings.inputs {
            Some(inputs) => runs - first < inputs / u64::from(ROUNDS),
            None => started.elapsed() < self.settings.time / ROUNDS,
        };
        while goes_on(self.summary.runs) {
            let input = self.next_input();
            let shown = self.try_input(&input)?;
            if shown.notes.into_iter().fold(false, |new, note| self.shown.insert(note) | new) {
                self.keep(input, shown.is_valid);
            }
        }
        self.summary.valid = self.summary.valid.max(self.valid.len());
        self.summary.invalid = self.summary.invalid.max(self.invalid.len());
        self.summary.shown = self.summary.shown.max(self.shown.len());
        Ok(())
    }

    fn keep(&mut self, input: Vec<u8>, is_valid: bool) {
        let corpus = if is_valid { &mut self.valid } else { &mut self.invalid };
        if corpus.len() == CORPUS_MAX {
            corpus.swap_remove(self.random.random_range(0..CORPUS_MAX));
        }
        corpus.push(input);
    }

    fn next_input(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let choose = |random: &mut StdRng, valid: &[Vec<u8>], invalid: &[Vec<u8>]| {
            let is_valid = !valid.is_empty() && (invalid.is_empty() || random.random_bool(0.88));
            let corpus = if is_valid { valid } else { invalid };
            assert!(!corpus.is_empty(), "a target without seeds");
            // What was found last is where something new is likeliest.
            let from = if random.random_bool(0.3) { corpus.len().saturating_sub(10) } else { 0 };
            corpus[random.random_range(from..corpus.len())].clone()
        };
        let mut input = choose(random, &self.valid, &self.invalid);
        let other = choose(random, &self.valid, &self.invalid);
        let change = |random: &mut StdRng, input: Vec<u8>| {
            self.target.change.and_then(|change| change(random, &input, &other)).unwrap_or(input)
        };
        match if self.target.change.is_some() { random.random_range(0..6) } else { 0 } {
            0 | 1 => self.target.syntax.mutate(random, &mut input, &other),
            2 => input = change(random, input),
            3 => {
                input = change(random, input);
                self.target.syntax.mutate(random, &mut input, &other);
            }
            _ => {
                self.target.syntax.mutate(random, &mut input, &other);
                input = change(random, input);
            }
        }
        input
    }

    fn try_input(&mut self, input: &[u8]) -> Result<Shown, Box<Finding>> {
        self.watch.begin(input);
        let began = Instant::now();
        let outcome = attempt(self.target, input);
        let took = began.elapsed();
        self.watch.end();
        self.summary.slowest = self.summary.slowest.max(took);
        self.summary.runs += 1;
        match outcome {
            Err(what) => Err(self.finding(what, input)),
            Ok(_) if took > SLOW && cpu_time_of(self.target, input).unwrap_or(took) > SLOW => {
                Err(self.finding(SLOW_WHAT.to_owned(), input))
            }
            Ok(shown) => {
                self.summary.largest_bytes = self.summary.largest_bytes.max(shown.bytes);
                Ok(shown)
            }
        }
    }

    fn finding(&self, what: String, input: &[u8]) -> Box<Finding> {
        let (small, backtrace) =
            if what == SLOW_WHAT { (input.to_vec(), String::new()) } else { shrink(self.target, input, &what) };
        let file = save(self.settings, self.target.name, "", &small);
        save(self.settings, self.target.name, ".first", input);
        Box::new(Finding {
            target: self.target.name,
            seed: self.settings.seed,
            runs: self.summary.runs,
            what,
            backtrace,
            input: input.to_vec(),
            small,
            file,
        })
    }
}

const SLOW_WHAT: &str = "one input took more than two seconds of CPU time";

/// Runs an input; an error is a panic's text.
fn attempt(target: &Target, input: &[u8]) -> Result<Shown, String> {
    let mut shown = Shown::default();
    match catch_unwind(AssertUnwindSafe(|| (target.run)(input, &mut shown))) {
        Ok(()) => Ok(shown),
        Err(payload) => Err(message(&*payload)),
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text");
    format!("panic: {text}")
}

/// The CPU time of one more run, on this thread; `None` where the system does not tell. The clock alone would blame an
/// input for a busy machine.
fn cpu_time_of(target: &Target, input: &[u8]) -> Option<Duration> {
    let now = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    };
    let before = now()?;
    let _ = attempt(target, input);
    Some(now()?.saturating_sub(before))
}

/// A smaller input that fails with the same text, and where it fails. Runs on a thread of its own, whose panics are
/// collected instead of printed.
fn shrink(target: &Target, input: &[u8], what: &str) -> (Vec<u8>, String) {
    let name = format!("fuzz finding in {}", target.name);
    let places = Arc::new(Mutex::new(String::new()));
    let before = std::panic::take_hook();
    let (hook_name, hook_places) = (name.clone(), Arc::clone(&places));
    let is_first = std::sync::atomic::AtomicBool::new(true);
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() != Some(&hook_name) {
            before(info);
        } else if is_first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let text = format!("at {place}\n{}", of_workspace(&Backtrace::force_capture().to_string()));
            *hook_places.lock().unwrap_or_else(PoisonError::into_inner) = text;
        }
    }));
    let small = std::thread::scope(|scope| {
        let shrinker = std::thread::Builder::new().name(name).spawn_scoped(scope, || {
            let kind = outline(what);
            let fails = |input: &[u8]| attempt(target, input).is_err_and(|what| outline(&what) == kind);
            if fails(input) { shrink_with(input, &fails) } else { input.to_vec() }
        });
        shrinker.ok().and_then(|shrinker| shrinker.join().ok()).unwrap_or_else(|| input.to_vec())
    });
    let places = places.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (small, places)
}

/// Takes pieces away, large ones first, as long as it fails.
fn shrink_with(input: &[u8], fails: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
    let started = Instant::now();
    let mut small = input.to_vec();
    let mut runs = 0;
    let mut piece = small.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        let mut is_smaller = false;
        while at < small.len() {
            if runs == SHRINK_RUNS || started.elapsed() > SHRINK_TIME {
                return small;
            }
            runs += 1;
            let mut shorter = small.clone();
            shorter.drain(at..(at + piece).min(small.len()));
            if fails(&shorter) {
                small = shorter;
                is_smaller = true;
            } else {
                at += piece;
            }
        }
        piece = if piece == 1 && !is_smaller { 0 } else { (piece / 2).max(1) };
    }
    small
}

/// The frames of a backtrace that lie in this workspace.
fn of_workspace(backtrace: &str) -> String {
    let lines: Vec<&str> = backtrace.lines().collect();
    let mut out = String::new();
    for pair in lines.windows(2) {
        let place = pair[1].trim();
        if place.starts_with("at ") && place.contains("crates/") && !place.contains("testkit/src/fuzz/harness.rs") {
            out.push_str(&format!("{}\n      {place}\n", pair[0]));
        }
    }
    out
}

fn save(settings: &Settings, target: &str, suffix: &str, input: &[u8]) -> Option<PathBuf> {
    let file = settings.dir.join(format!("{target}-{}{suffix}", settings.seed));
    std::fs::create_dir_all(&settings.dir).and_then(|()| std::fs::write(&file, input)).ok().map(|()| file)
}

fn files(settings: &Settings, target: &str) -> Vec<Vec<u8>> {
    let Some(dir) = settings.corpus.as_ref().map(|corpus| corpus.join(target)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// The input that runs, seen from the thread that watches.
#[derive(Default)]
struct Watch(Mutex<Option<(Instant, Vec<u8>)>>);

impl Watch {
    fn begin(&self, input: &[u8]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), input.to_vec()));
    }

    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends the process, with the input saved, when it hangs or takes all memory.
    fn guard(&self, target: &str, settings: &Settings, is_done: &mpsc::Receiver<()>) {
        while let Err(mpsc::RecvTimeoutError::Timeout) = is_done.recv_timeout(Duration::from_millis(100)) {
            let what = {
                let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let Some((since, input)) = &*running else { continue };
                let resident = resident_bytes();
                let what = if since.elapsed() > HANG {
                    format!("does not come back within {HANG:?}")
                } else if resident > MEMORY_BYTES_MAX {
                    format!("runs while the process takes {resident} bytes of memory")
                } else {
                    continue;
                };
                let file = save(settings, target, ".killed", input);
                format!("fuzz target {target}, seed {}: an input {what}; saved as {file:?}", settings.seed)
            };
            eprintln!("{what}");
            std::process::abort();
        }
    }
}

/// Resident memory of this process; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_taken_away() {
        let fails = |input: &[u8]| input.windows(2).any(|pair| pair == b"ab") && input.contains(&b'z');
        let small = shrink_with(b"some text, ab, and then a long tail that ends in xyz and more", &fails);
        assert_eq!(small.len(), 3, "{:?}", String::from_utf8_lossy(&small));
    }
}
