//! From the log to a batch: reads frames, keeps what the filter selects, encodes until the batch is full. Blocking and
//! bounded; `connector` calls it on a blocking thread and decides how long to wait for more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use commit::{FollowError, Followed, Follower, Log};
use event::codec::CodecError;
use event::{Event, InstanceId, Position, RecordId, Time};

use crate::DeliverError;
use crate::config::{BatchConfig, Sieve, Source};
use crate::elements::Elements;
use crate::ledger::{Loss, Place};
use crate::loops::{self, Gate, Pass};
use crate::targets::Target;

/// How a frame's payload becomes events, given by the binary: its records, and behind all of them, where that is wanted, what
/// parsers make of them. The same frame must give the same events in the same order, or a batch cannot be made again;
/// and with the records first, a place within a frame stays one when a connector is changed to want the other.
///
/// A frame of many records may come in slices; the last argument says before which of its records, counted from 0, everything
/// has been read. Within a slice the records stand first. (Where a connector is changed to want the other in the middle of such
/// a frame, the place within it is off by what was parsed before: the one case in which the numbers do not agree.)
pub type ReadFrame = Arc<dyn Fn(Position, &Bytes, Wanted, u32) -> Result<Slice, CodecError> + Send + Sync>;

/// The events of a frame, or of some of its records.
#[derive(Debug, Clone, Default)]
pub struct Slice {
    /// In order.
    pub events: Vec<Event>,
    /// The frame's records before this one have been read.
    pub through: u32,
    /// Those were the last.
    pub is_last: bool,
}

/// What of a frame is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Its records as they were sent.
    Sent,
    /// Also what parsers make of them.
    Parsed,
}

/// How much is read without a match before the caller gets to commit the cursor.
pub(crate) const PAUSE_BYTES: usize = 16 << 20;
/// The same where something waits to be committed that must not wait for long.
pub(crate) const PAUSE_BYTES_HURRIED: usize = 1 << 20;
/// How many events are looked at, and how many bytes gathered, on a thread that must not be kept.
const QUICK_EVENTS: u32 = 64;
const QUICK_BYTES: usize = 128 << 10;
/// How many frames, and bytes of them, are taken out of the log before they are asked for.
const AHEAD_FRAMES: usize = 16;
const AHEAD_BYTES: u64 = 64 << 10;
/// After how many events the caller's wish to stop is looked at.
const LOOK_EVERY: u32 = 1_024;

/// Reads one connector's part of the log.
pub(crate) struct Reader {
    follower: Follower,
    read: ReadFrame,
    instance: InstanceId,
    source: Source,
    target: Arc<dyn Target>,
    gate: Gate,
    frame: Option<Frame>,
    /// What the follower has given and nobody has looked at.
    ahead: VecDeque<Followed>,
    /// Everything before has been read.
    place: Place,
    gap: Option<Gap>,
}

struct Frame {
    position: Position,
    next: Position,
    payload: Bytes,
    slice: Slice,
    /// Events of the slices before.
    before: usize,
    /// The event of the slice to look at next.
    index: usize,
}

impl Frame {
    /// A frame whose first `skip` events have been looked at.
    fn open(
        read: &ReadFrame,
        wanted: Wanted,
        (position, next): (Position, Position),
        payload: Bytes,
        skip: usize,
    ) -> Result<Frame, CodecError> {
        let slice = read(position, &payload, wanted, 0)?;
        let mut frame = Frame { position, next, payload, slice, before: 0, index: 0 };
        while frame.before + frame.slice.events.len() <= skip && !frame.slice.is_last {
            frame.go_on(read, wanted)?;
        }
        frame.index = skip.saturating_sub(frame.before).min(frame.slice.events.len());
        Ok(frame)
    }

    /// Reads the next slice, which there must be.
    fn go_on(&mut self, read: &ReadFrame, wanted: Wanted) -> Result<(), CodecError> {
        let next = read(self.position, &self.payload, wanted, self.slice.through)?;
        self.before += self.slice.events.len();
        (self.slice, self.index) = (next, 0);
        Ok(())
    }

    /// Everything before this place has been looked at.
    fn place(&self) -> Place {
        if self.slice.is_last && self.index == self.slice.events.len() {
            return Place::at(self.next);
        }
        // A record's index fits 32 bits, and an event is one of a record's few.
        Place { position: self.position, skip: u32::try_from(self.before + self.index).unwrap_or(u32::MAX) }
    }
}

/// A part of the log that is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub from: Position,
    pub to: Position,
    pub why: Loss,
}

/// A batch on its way to being full.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    pub elements: Elements,
    /// Events read for it, those left out included.
    pub read: u64,
    /// When its first record was received.
    pub received_at: Option<Time>,
    /// From how many calls its records come, the most of any.
    pub hops: u32,
    /// Looping records that were passed over on the way.
    pub passed_over: u64,
    /// The first of them, and the feed that it came by.
    pub first_passed_over: Option<(RecordId, String)>,
    /// What the source and the filter had to do for it.
    pub flow: Flow,
}

/// What was read for a batch, for the meter.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Flow {
    /// Records that the source takes, and their bytes.
    pub source: (u64, u64),
    /// Those that the filter let through.
    pub task: (u64, u64),
    /// How long reading took, and how long filtering did.
    pub reading: Duration,
    pub filtering: Duration,
}

/// Why gathering came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The batch is full, or a gap follows, or `until` is reached.
    Full,
    /// The log has no more at the moment.
    Dry,
    /// Much was read, or the caller wants to stop.
    Pause,
    /// Something of the log is missing here; the batch is empty.
    Gap(Gap),
    /// The next record comes from so many calls that this is a loop; the batch is empty.
    Loop(u32),
}

/// What gathering goes by.
pub(crate) struct Until<'a> {
    pub limits: BatchConfig,
    /// Ends the batch at a place instead, whatever its size.
    pub place: Option<Place>,
    /// After how many bytes without a match it pauses.
    pub pause_bytes: usize,
    pub interrupted: &'a dyn Fn() -> bool,
}

impl Reader {
    /// Reads on from this place.
    pub(crate) fn new(
        log: &Log,
        read: ReadFrame,
        instance: InstanceId,
        source: Source,
        target: Arc<dyn Target>,
        gate: Gate,
        place: Place,
    ) -> Result<Reader, DeliverError> {
        let follower = log.follow(Some(place.position))?;
        Ok(Reader {
            follower,
            read,
            instance,
            source,
            target,
            gate,
            frame: None,
            ahead: VecDeque::new(),
            place,
            gap: None,
        })
    }

    /// Everything before this place has been read.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Ends when the log has more; false when it never will, since it is closed.
    pub(crate) async fn changed(&mut self) -> bool {
        !self.ahead.is_empty() || self.follower.changed().await
    }

    /// The feed of the record that is next, where one has been looked at.
    pub(crate) fn feed(&self) -> &str {
        let next = self.frame.as_ref().and_then(|frame| frame.slice.events.get(frame.index));
        next.map_or("", |event| &event.batch.feed)
    }

    /// Adds what little is needed to fill the batch from what is in memory, so that small batches do not cost a switch of
    /// threads each. True: it is full. False: [`Reader::gather`] goes on.
    pub(crate) fn gather_quick(&mut self, batch: &mut Gathering, limits: &BatchConfig) -> bool {
        if limits.records_max > QUICK_EVENTS as usize {
            return false;
        }
        let began = Instant::now();
        let until = Until { limits: *limits, place: None, pause_bytes: 0, interrupted: &|| false };
        let full = self.take_quick(batch, &until);
        batch.flow.reading += began.elapsed();
        full
    }

    fn take_quick(&mut self, batch: &mut Gathering, until: &Until<'_>) -> bool {
        loop {
            if self.gap.is_some() {
                return false;
            }
            if self.frame.is_some()
                && let Some(step) = self.take(batch, until, true)
            {
                return step == Step::Full;
            }
            let Some(Followed::Frame { position, next, payload, .. }) = self.ahead.front().cloned() else {
                return false;
            };
            self.ahead.pop_front();
            self.open(position, next, &payload);
        }
    }

    /// Adds to the batch until it is full.
    pub(crate) fn gather(&mut self, batch: &mut Gathering, until: &Until<'_>) -> Result<Step, DeliverError> {
        let began = Instant::now();
        let step = self.read_on(batch, until);
        let used_up = self.frame.as_ref().is_none_or(|frame| frame.index >= frame.slice.events.len());
        if used_up && until.limits.records_max <= QUICK_EVENTS as usize {
            self.look_ahead();
        }
        batch.flow.reading += began.elapsed();
        step
    }

    /// Takes some small frames out of the log for [`Reader::gather_quick`], where this thread may wait for a disk anyway.
    fn look_ahead(&mut self) {
        let mut bytes = 0;
        while self.ahead.len() < AHEAD_FRAMES {
            bytes += self.follower.next_bytes().unwrap_or(u64::MAX / 2);
            if bytes > AHEAD_BYTES {
                return;
            }
            // What goes wrong here comes up again: the follower stays where it is.
            let Ok(Some(followed)) = self.follower.read() else { return };
            self.ahead.push_back(followed);
        }
    }

    fn read_on(&mut self, batch: &mut Gathering, until: &Until<'_>) -> Result<Step, DeliverError> {
        let mut scanned = 0;
        loop {
            if let Some(gap) = self.gap {
                if !batch.elements.is_empty() {
                    return Ok(Step::Full);
                }
                self.gap = None;
                self.place = Place::at(gap.to);
                return Ok(Step::Gap(gap));
            }
            if self.frame.is_some()
                && let Some(step) = self.take(batch, until, false)
            {
                return Ok(step);
            }
            if until.place == Some(self.place) {
                return Ok(Step::Full);
            }
            if scanned >= until.pause_bytes || (until.interrupted)() {
                return Ok(Step::Pause);
            }
            let followed = match self.ahead.pop_front() {
                Some(followed) => Some(followed),
                None => self.follower.read()?,
            };
            match followed {
                None => return Ok(Step::Dry),
                Some(Followed::Lost { from, to }) => self.gap = Some(Gap { from, to, why: Loss::Kept }),
                Some(Followed::Damaged { from, to }) => self.gap = Some(Gap { from, to, why: Loss::Damaged }),
                Some(Followed::Frame { position, next, payload, .. }) => {
                    scanned += payload.len();
                    self.open(position, next, &payload);
                }
            }
        }
    }

    fn open(&mut self, position: Position, next: Position, payload: &Bytes) {
        // The cursor may stand within the frame that it names.
        let skip = if self.place.position == position { self.place.skip as usize } else { 0 };
        match Frame::open(&self.read, self.source.wanted(), (position, next), payload.clone(), skip) {
            Ok(frame) => self.frame = Some(frame),
            Err(error) => self.unreadable(position, next, &error),
        }
    }

    fn unreadable(&mut self, position: Position, next: Position, error: &CodecError) {
        tracing::error!(%position, %error, "a frame cannot be read");
        self.gap = Some(Gap { from: position, to: next, why: Loss::Unreadable });
    }

    /// Takes events of the open frame, only a few of them if it must be quick; `None` when it is used up.
    fn take(&mut self, batch: &mut Gathering, until: &Until<'_>, quick: bool) -> Option<Step> {
        loop {
            let step = self.take_slice(batch, until, quick);
            let frame = self.frame.as_mut()?;
            if step.is_some() {
                return step;
            }
            if frame.slice.is_last {
                break;
            }
            // What is quick is in memory; a slice is made.
            if quick {
                return Some(Step::Pause);
            }
            if let Err(error) = frame.go_on(&self.read, self.source.wanted()) {
                let (position, next) = (frame.position, frame.next);
                self.frame = None;
                self.unreadable(position, next, &error);
                return None;
            }
        }
        // Also where the frame held no event at all.
        self.place = Place::at(self.frame.as_ref()?.next);
        self.frame = None;
        None
    }

    /// Takes events of the open slice; `None` when it is used up.
    fn take_slice(&mut self, batch: &mut Gathering, until: &Until<'_>, quick: bool) -> Option<Step> {
        let frame = self.frame.as_mut()?;
        let limits = &until.limits;
        let mut looked = 0;
        while let Some(event) = frame.slice.events.get(frame.index) {
            if until.place == Some(self.place) {
                return Some(Step::Full);
            }
            if quick && (looked == QUICK_EVENTS || batch.elements.bytes_len() + event.data.len() > QUICK_BYTES) {
                return Some(Step::Pause);
            }
            looked += 1;
            if looked % LOOK_EVERY == 0 && (until.interrupted)() {
                return Some(Step::Pause);
            }
            let is_own = event.batch.instance == self.instance;
            let sieve = if is_own { self.source.sieve(event, &mut batch.flow.filtering) } else { Sieve::NotOurs };
            let mut selected = sieve == Sieve::Selected;
            if selected {
                let hops = loops::hops(&event.batch);
                match self.gate.judge(hops, frame.position) {
                    Pass::Deliver => batch.hops = batch.hops.max(hops),
                    Pass::Skip => {
                        selected = false;
                        batch.passed_over += 1;
                        batch.first_passed_over.get_or_insert_with(|| (event.id(), event.batch.feed.clone()));
                    }
                    Pass::Stop if batch.elements.is_empty() => return Some(Step::Loop(hops)),
                    Pass::Stop => return Some(Step::Full),
                }
            }
            if selected {
                self.target.element(event, &mut batch.elements);
                let too_long = self.target.body_bytes_len(&batch.elements) > limits.bytes_max;
                if too_long && batch.elements.len() > 1 {
                    // It begins the next batch; encoding it again costs one record per batch.
                    batch.elements.pop();
                    return Some(Step::Full);
                }
                batch.received_at.get_or_insert(event.batch.received_at);
            }
            let bytes = event.data.len() as u64;
            if sieve != Sieve::NotOurs {
                batch.flow.source.0 += 1;
                batch.flow.source.1 += bytes;
            }
            if sieve == Sieve::Selected {
                batch.flow.task.0 += 1;
                batch.flow.task.1 += bytes;
            }
            // Of its own instance only: what others send is nobody's business here.
            batch.read += u64::from(is_own);
            frame.index += 1;
            self.place = frame.place();
            let full = batch.elements.len() >= limits.records_max
                || self.target.body_bytes_len(&batch.elements) >= limits.bytes_max;
            if selected && full {
                return Some(Step::Full);
            }
        }
        None
    }
}

/// The events of one record, each with its number within its frame; `None` when the log no longer has it.
pub(crate) fn look(
    log: &Log,
    read: &ReadFrame,
    position: Position,
    record: event::RecordId,
    wanted: Wanted,
) -> Result<Option<Vec<(u32, Event)>>, DeliverError> {
    let mut follower = match log.follow(Some(position)) {
        Ok(follower) => follower,
        // A position that this log cannot have is one where nothing stands.
        Err(FollowError::OtherEpoch { .. } | FollowError::Ahead { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(Followed::Frame { position: found, payload, .. }) = follower.read()? else { return Ok(None) };
    if found != position {
        return Ok(None);
    }
    let (mut numbered, mut number, mut through) = (Vec::new(), 0_u32, 0);
    loop {
        let Ok(slice) = read(position, &payload, wanted, through) else { return Ok(None) };
        for event in slice.events {
            if event.id() == record {
                numbered.push((number, event));
            }
            number = number.saturating_add(1);
        }
        if slice.is_last {
            return Ok(Some(numbered));
        }
        through = slice.through;
    }
}
