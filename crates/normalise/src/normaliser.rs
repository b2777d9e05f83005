//! Reads frames for all followers of the log: takes them apart, shares the work out, and puts together what comes back.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use event::codec::{self, CodecError};
use event::{Event, Failure, InstanceId, Kind, Position, Tally, TallyKey, Why, limits};
use rayon::prelude::*;

use crate::schedule::{Choice, Schedule};
use crate::shared::{Claim, Shared};
use crate::work::{Job, Machines, chunks};

/// How frames are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether raw records are parsed at all.
    pub enabled: bool,
    /// Whether a record that no parser reads becomes a generic event.
    pub generic: bool,
    /// On how many threads; 0 for as many as there are processors.
    pub threads: usize,
    /// Bytes of the newest frames that are kept as they were read, for followers that come next.
    pub shared_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { enabled: true, generic: true, threads: 0, shared_bytes: limits::NORMALISE_SHARED_BYTES }
    }
}

/// A frame of the log, or what is left of one to be read.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Where it stands.
    pub position: Position,
    /// What it holds.
    pub payload: Bytes,
    /// Its records before this one, counted from 0 over all its batches, have been read. Where an earlier reading of it
    /// ended ([`Read::through`]): slices lie where their sizes say, and the records of one share what they may use.
    pub first: u32,
}

impl Frame {
    /// All of a frame.
    pub fn new(position: Position, payload: Bytes) -> Frame {
        Frame { position, payload, first: 0 }
    }
}

/// What is known of the records of a frame: of all of them, or, where they are many, of a slice.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// Its records before this one have been read, these among them.
    pub through: u32,
    /// Those were the last.
    pub is_last: bool,
    /// The good records, in the sender's order, and behind all of them what parsers made of them, in the same order.
    pub events: Vec<Event>,
    /// How many of them are records.
    pub sent: usize,
    /// Those that were set aside when they came in, with the reason.
    pub set_aside: Vec<(Event, String)>,
    /// The raw records that gave no events, and why.
    pub failures: Vec<Failure>,
    /// How many raw records each parser read.
    pub tallies: Vec<(TallyKey, Tally)>,
}

/// Records of a frame that are to be read at once.
struct Slice {
    jobs: Vec<Job>,
    set_aside: Vec<(Event, String)>,
    through: u32,
    is_last: bool,
}

/// A parser of an instance's own that keeps using up what it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Whose it is.
    pub instance: InstanceId,
    /// Which logs it reads.
    pub log_type: String,
    /// The parser, with its extension, as rows name it.
    pub parser: Arc<str>,
    /// What the last log said that ended so.
    pub message: String,
}

/// Reads frames. One for all followers.
pub struct Normaliser {
    schema: Arc<udm::Schema>,
    options: Options,
    schedule: RwLock<Scheduled>,
    pool: rayon::ThreadPool,
    machines: Machines,
    shared: Shared,
    strikes: Mutex<HashMap<(InstanceId, String, Arc<str>), i64>>,
    on_trouble: Mutex<Option<OnTrouble>>,
}

/// Called with a parser that should be set aside, again while it stays in use.
type OnTrouble = Arc<dyn Fn(Trouble) + Send + Sync>;

struct Scheduled {
    schedule: Arc<Schedule>,
    /// No frame behind this one has been read.
    furthest: Mutex<Option<Position>>,
}

impl fmt::Debug for Normaliser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Normaliser").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Normaliser {
    /// Starts its threads. Fails when the system has none to give.
    pub fn new(schema: Arc<udm::Schema>, options: Options, schedule: Schedule) -> std::io::Result<Normaliser> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|index| format!("normalise-{index}"))
            .stack_size(STACK_BYTES)
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Normaliser {
            machines: Machines::new(Arc::clone(&schema)),
            shared: Shared::new(options.shared_bytes),
            schema,
            options,
            schedule: RwLock::new(Scheduled { schedule: Arc::new(schedule), furthest: Mutex::default() }),
            pool,
            strikes: Mutex::default(),
            on_trouble: Mutex::default(),
        })
    }

    /// Whether raw records are parsed at all.
    pub fn is_enabled(&self) -> bool {
        self.options.enabled
    }

    /// Whom to tell of parsers that should be set aside. It may change the schedule.
    pub fn on_trouble(&self, tell: impl Fn(Trouble) + Send + Sync + 'static) {
        *self.on_trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(tell));
    }

    /// What is in use now.
    pub fn schedule(&self) -> Arc<Schedule> {
        Arc::clone(&self.schedule.read().unwrap_or_else(PoisonError::into_inner).schedule)
    }

    /// Puts another schedule in use. While `change` makes it, no frame is begun: it looks where the log ends, makes the new
    /// turn count from there, and writes that down, and no frame behind that place has been read the old way. It is told behind
    /// which position no frame has been read at all, since this process began. When it fails, everything stays as it was.
    pub fn change<E>(&self, change: impl FnOnce(Option<Position>) -> Result<Schedule, E>) -> Result<(), E> {
        let mut scheduled = self.schedule.write().unwrap_or_else(PoisonError::into_inner);
        let furthest = *scheduled.furthest.lock().unwrap_or_else(PoisonError::into_inner);
        scheduled.schedule = Arc::new(change(furthest)?);
        Ok(())
    }

    /// The records of a frame as they were sent, without what parsers make of them: all of them. Fails only on a payload that
    /// this Penstock cannot have written.
    pub fn records(&self, position: Position, payload: &Bytes) -> Result<Read, CodecError> {
        let Slice { jobs, set_aside, through, .. } =
            self.take_apart(&Frame::new(position, payload.clone()), usize::MAX, None)?;
        let mut read = Read { set_aside, through, is_last: true, ..Read::default() };
        read.events = jobs.into_iter().map(|job| crate::work::checked(job.event, &self.schema)).collect();
        read.sent = read.events.len();
        Ok(read)
    }

    /// The records of a frame, or the next slice of them, and what parsers make of them. Who asks for a frame that another is
    /// reading waits for that.
    pub fn read(&self, frame: &Frame) -> Result<Arc<Read>, CodecError> {
        self.shared.share();
        self.read_all(std::slice::from_ref(frame)).pop().expect("one frame gives one answer")
    }

    /// The same for several frames, whose records share the threads: many small frames take as many of them as a large one.
    /// They are to stand in the log's order. For the one follower that reads every frame: what it reads is kept for others only
    /// once there was another.
    pub fn read_all(&self, frames: &[Frame]) -> Vec<Result<Arc<Read>, CodecError>> {
        let mut answers: Vec<Option<Result<Arc<Read>, CodecError>>> = Vec::new();
        answers.resize_with(frames.len(), || None);
        let mut mine = Vec::new();
        for (index, frame) in frames.iter().enumerate() {
            match self.shared.claim((frame.position, frame.first)) {
                Claim::Done(read) => answers[index] = Some(Ok(read)),
                Claim::Mine(claim) => mine.push((index, claim)),
            }
        }
        let schedule = {
            let scheduled = self.schedule.read().unwrap_or_else(PoisonError::into_inner);
            let last = frames.last().map(|frame| frame.position);
            let mut furthest = scheduled.furthest.lock().unwrap_or_else(PoisonError::into_inner);
            // Of another log than before, it is another count.
            let same = furthest.is_some_and(|known| last.is_some_and(|last| last.epoch == known.epoch));
            *furthest = if same { (*furthest).max(last) } else { last };
            Arc::clone(&scheduled.schedule)
        };
        let mut jobs = Vec::new();
        let mut begun = Vec::new();
        for (index, claim) in mine {
            let frame = &frames[index];
            match self.take_apart(frame, limits::NORMALISE_SLICE_RECORDS, Some(&schedule)) {
                Ok(mut slice) => {
                    let first = jobs.len();
                    jobs.append(&mut slice.jobs);
                    begun.push((index, claim, first..jobs.len(), slice));
                }
                Err(error) => answers[index] = Some(Err(error)),
            }
        }
        let ranges: Vec<_> = begun.iter().map(|(_, _, range, _)| range.clone()).collect();
        let mut done = self.work(jobs, &ranges).into_iter();
        // What another has read, that one has judged.
        let mut fresh = Vec::new();
        for (index, claim, _, slice) in begun {
            let mut read = done.next().expect("every range has been worked on");
            (read.set_aside, read.through, read.is_last) = (slice.set_aside, slice.through, slice.is_last);
            let read = claim.publish(read);
            fresh.push(Arc::clone(&read));
            answers[index] = Some(Ok(read));
        }
        self.judge(&schedule, &fresh);
        drop(fresh);
        answers.into_iter().map(|answer| answer.expect("each was answered")).collect()
    }

    /// Reads records again that were read before, each by this choice: what a frame with them would give now.
    pub fn reread(&self, records: Vec<Event>, choice: &Arc<Choice>) -> Read {
        let choice = Some(Arc::clone(choice)).filter(|choice| choice.parser.is_some() || self.options.generic);
        let again = |mut event: Event| {
            event.issues.clear();
            event.event_time = event.sender_time.unwrap_or(event.batch.received_at);
            event.parser = None;
            Job { event, choice: choice.clone() }
        };
        let jobs: Vec<Job> = records.into_iter().map(again).collect();
        let all = 0..jobs.len();
        self.work(jobs, std::slice::from_ref(&all)).pop().unwrap_or_default()
    }

    /// The records of a frame from `first` on, as many as may be read at once, with what reads each, and those that were set
    /// aside. Without a schedule nothing reads any.
    fn take_apart(&self, frame: &Frame, records_max: usize, schedule: Option<&Schedule>) -> Result<Slice, CodecError> {
        let Frame { position, ref payload, first } = *frame;
        let bytes_max = if records_max == usize::MAX { usize::MAX } else { limits::NORMALISE_SLICE_BYTES };
        let mut slice = Slice { jobs: Vec::new(), set_aside: Vec::new(), through: first, is_last: true };
        let (mut number, mut bytes) = (0_u32, 0_usize);
        // Batches of one request are often of one log type.
        let mut last: Option<(InstanceId, String, Arc<Choice>)> = None;
        for batch in codec::decode(payload)? {
            let meta = batch.meta;
            let choice = match schedule {
                Some(schedule) if meta.kind == Kind::Raw && self.options.enabled => {
                    let known = last
                        .take()
                        .filter(|(instance, log_type, _)| *instance == meta.instance && *log_type == meta.log_type);
                    let (.., choice) = last.insert(known.unwrap_or_else(|| {
                        let choice = schedule.choose(meta.instance, &meta.log_type, position);
                        (meta.instance, meta.log_type.clone(), Arc::new(choice))
                    }));
                    Some(Arc::clone(choice)).filter(|choice| choice.parser.is_some() || self.options.generic)
                }
                _ => None,
            };
            for (index, record) in (0..).zip(batch.records) {
                number = number.saturating_add(1);
                if number <= first {
                    continue;
                }
                let taken = (slice.through - first) as usize;
                bytes = bytes.saturating_add(record.data.len());
                if taken == records_max || (taken > 0 && bytes > bytes_max) {
                    slice.is_last = false;
                    return Ok(slice);
                }
                slice.through = number;
                let event = Event {
                    batch: Arc::clone(&meta),
                    position,
                    index,
                    kind: meta.kind,
                    event_time: record.sender_time.unwrap_or(meta.received_at),
                    data: record.data,
                    sender_time: record.sender_time,
                    collected_at: record.collected_at,
                    issues: Vec::new(),
                    parser: None,
                    ordinal: 0,
                };
                match record.fault {
                    Some(reason) => slice.set_aside.push((event, reason)),
                    None => slice.jobs.push(Job { event, choice: choice.clone() }),
                }
            }
        }
        Ok(slice)
    }

    /// Does all jobs, and gives what came of each range of them. How they are cut into chunks depends on the range alone,
    /// since the jobs of a chunk share what they may use.
    fn work(&self, jobs: Vec<Job>, ranges: &[std::ops::Range<usize>]) -> Vec<Read> {
        let mut pieces = Vec::new();
        let mut jobs = jobs.into_iter();
        for (number, range) in ranges.iter().enumerate() {
            for chunk in chunks(jobs.by_ref().take(range.len())) {
                pieces.push((number, chunk));
            }
        }
        let done: Vec<(usize, Read)> = self
            .pool
            .install(|| pieces.into_par_iter().map(|(number, chunk)| (number, self.machines.work(chunk))).collect());
        let mut reads: Vec<Read> = ranges.iter().map(|_| Read::default()).collect();
        let mut parsed: Vec<Vec<Event>> = ranges.iter().map(|_| Vec::new()).collect();
        for (number, piece) in done {
            let read = &mut reads[number];
            let mut events = piece.events;
            parsed[number].extend(events.drain(piece.sent..));
            read.events.append(&mut events);
            read.failures.extend(piece.failures);
            for (TallyKey { instance, log_type, parser }, tally) in piece.tallies {
                count(&mut read.tallies, instance, &log_type, &parser, tally);
            }
        }
        for (read, parsed) in reads.iter_mut().zip(parsed) {
            read.sent = read.events.len();
            read.events.extend(parsed);
        }
        reads
    }

    /// Counts the logs that used up what they may use, for each parser of an instance's own, and tells of one that keeps
    /// doing so. Such a log weighs as much as many good ones.
    fn judge(&self, schedule: &Schedule, reads: &[Arc<Read>]) {
        let mut told = Vec::new();
        {
            let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
            for read in reads {
                let at_limit = read.failures.iter().filter(|failure| failure.why == Why::Limit);
                for failure in at_limit {
                    let batch = &failure.batch;
                    let choice = schedule.choose(batch.instance, &batch.log_type, failure.position);
                    if !(choice.is_own || choice.extension.is_some()) || *choice.id() != failure.parser {
                        continue;
                    }
                    let key = (batch.instance, batch.log_type.clone(), Arc::clone(&failure.parser));
                    let strike = strikes.entry(key.clone()).or_default();
                    *strike += STRIKE;
                    if *strike >= STRIKES_MAX {
                        // It counts anew: somebody may want to use it again.
                        *strike = 0;
                        let (instance, log_type, parser) = key;
                        // What one log ran into by itself says more than that others had used up everything.
                        let says = read
                            .failures
                            .iter()
                            .find(|said| said.why == Why::Limit && said.parser == parser && said.line > 0);
                        let message = says.unwrap_or(failure).message.clone();
                        let trouble = Trouble { instance, log_type, parser, message };
                        let is_known =
                            |known: &Trouble| (known.instance, &known.parser) == (trouble.instance, &trouble.parser);
                        if !told.iter().any(is_known) {
                            told.push(trouble);
                        }
                    }
                }
                if !strikes.is_empty() {
                    for (key, tally) in &read.tallies {
                        let key = (key.instance, key.log_type.clone(), Arc::clone(&key.parser));
                        let good = i64::try_from(tally.parsed + tally.dropped).unwrap_or(i64::MAX);
                        if let Some(strike) = strikes.get_mut(&key) {
                            *strike = strike.saturating_sub(good).max(0);
                        }
                    }
                }
            }
        }
        let tell = self.on_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tell) = tell {
            told.into_iter().for_each(|trouble| tell(trouble));
        }
    }
}

/// The stack of a thread that parses: values and programs nest as deep as their limits let them.
const STACK_BYTES: usize = 8 << 20;

/// What a log at a limit weighs, in good logs, and at which weight a parser is told of: two dozen of them with few good
/// ones between.
const STRIKE: i64 = 100;
const STRIKES_MAX: i64 = 24 * STRIKE;

/// Adds to the tally of these. Called for every record, so it makes a key only where there is none.
pub(crate) fn count(
    tallies: &mut Vec<(TallyKey, Tally)>,
    instance: InstanceId,
    log_type: &str,
    parser: &Arc<str>,
    tally: Tally,
) {
    let is_key = |known: &TallyKey| known.instance == instance && known.log_type == log_type && known.parser == *parser;
    match tallies.iter_mut().rfind(|(known, _)| is_key(known)) {
        Some((_, known)) => known.add(tally),
        None => {
            let key = TallyKey { instance, log_type: log_type.to_owned(), parser: Arc::clone(parser) };
            tallies.push((key, tally));
        }
    }
}
