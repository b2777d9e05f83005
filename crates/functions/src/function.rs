//! One function: its queue of calls, and the tasks that serve it, each with a process of its own.
//!
//! Calls wait in one queue, first come, first served. A task takes the next one as soon as its process is free; where
//! all are at work and another process is allowed, another is started. Of several idle tasks the one that has worked
//! last goes on, so that the others come to their idle stop.
//!
//! A changed function is a new generation: tasks of an older one end after their current call. A process that does not
//! come up fails the calls that wait for it; when that happens again and again, the next try waits, and calls meanwhile
//! are told at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot, watch};

use crate::Shared;
use crate::http::is_header_value;
use crate::limits::{BACKOFF_FIRST, BACKOFF_MAX, BODY_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_CALLS_MAX};
use crate::log::{LogLine, Stream};
use crate::process::Process;
use crate::spec::{Answer, Call, CallReport, InvokeError, Spec, State};

/// What a function's tasks are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Serve.
    Run,
    /// End after the current call: the function is no longer among those to run.
    Retire,
    /// End after the current call: the server stops.
    Finish,
    /// End at once: the server stops.
    Kill,
    /// End at once: the function is gone.
    Remove,
}

impl Order {
    /// What calls are told that come too late.
    fn refusal(self) -> InvokeError {
        match self {
            Order::Retire | Order::Remove => InvokeError::Unknown,
            Order::Run | Order::Finish | Order::Kill => InvokeError::Stopping,
        }
    }
}

/// One function.
pub(crate) struct Function {
    id: Arc<str>,
    shared: Arc<Shared>,
    inner: Mutex<Inner>,
    /// Wakes idle tasks, the last one first.
    wake: Notify,
    orders: watch::Sender<Order>,
}

struct Inner {
    spec: Arc<Spec>,
    generation: u64,
    queue: VecDeque<Job>,
    queued_bytes: usize,
    next_ticket: u64,
    /// Tasks there are, those that are starting their process, those that wait for a call.
    live: usize,
    starting: usize,
    idle: usize,
    idle_since: Instant,
    /// Idle tasks that are to end, because another function needs a process.
    evicted: usize,
    failures: u32,
    retry_at: Option<Instant>,
    last_failure: String,
}

struct Job {
    ticket: u64,
    call: Call,
    call_id: Arc<str>,
    reply: oneshot::Sender<Result<Answer, InvokeError>>,
}

/// What an idle task does next.
enum Next {
    Job(Box<Job>),
    Stop,
    Died(String),
}

impl Function {
    pub(crate) fn new(shared: Arc<Shared>, spec: Spec) -> Arc<Function> {
        Arc::new(Function {
            id: spec.id.as_str().into(),
            shared,
            inner: Mutex::new(Inner {
                spec: Arc::new(spec),
                generation: 0,
                queue: VecDeque::new(),
                queued_bytes: 0,
                next_ticket: 0,
                live: 0,
                starting: 0,
                idle: 0,
                idle_since: Instant::now(),
                evicted: 0,
                failures: 0,
                retry_at: None,
                last_failure: String::new(),
            }),
            wake: Notify::new(),
            orders: watch::Sender::new(Order::Run),
        })
    }

    /// Takes a changed specification.
    pub(crate) fn apply(&self, spec: Spec) {
        let mut inner = self.lock();
        if *inner.spec == spec {
            return;
        }
        if !inner.spec.same_process(&spec) {
            inner.generation += 1;
            inner.failures = 0;
            inner.retry_at = None;
        }
        inner.spec = Arc::new(spec);
        drop(inner);
        // All look: idle processes of the old generation end now.
        self.wake.notify_waiters();
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn spec(&self) -> Arc<Spec> {
        self.lock().spec.clone()
    }

    /// Runs a call, and waits for it.
    pub(crate) async fn invoke(self: &Arc<Self>, call: Call) -> Result<Answer, InvokeError> {
        if call.body.len() > BODY_BYTES_MAX {
            return Err(InvokeError::TooLarge { what: "request" });
        }
        let (reply, mut answer) = oneshot::channel();
        let ticket = self.push(call, reply)?;
        let spec = self.spec();
        let wait = spec.timeout + self.shared.settings.init_timeout;
        let gone = |_| InvokeError::Stopping;
        if let Ok(answer) = tokio::time::timeout(wait, &mut answer).await {
            return answer.map_err(gone)?;
        }
        // Still in the queue: it will not be run. Else it runs, and its end is near.
        if self.withdraw(ticket) {
            return Err(InvokeError::Busy { why: format!("it has waited for {} s", wait.as_secs_f64()) });
        }
        answer.await.map_err(gone)?
    }

    /// Tells all tasks, and answers those that wait.
    pub(crate) fn order(&self, order: Order) {
        // Never back: who is to end at once is not told to finish.
        self.orders.send_if_modified(|now| {
            let changes = match *now {
                Order::Run => true,
                Order::Retire | Order::Finish => matches!(order, Order::Kill | Order::Remove),
                Order::Kill | Order::Remove => false,
            };
            if changes {
                *now = order;
            }
            changes
        });
        let mut inner = self.lock();
        let waiting = std::mem::take(&mut inner.queue);
        inner.queued_bytes = 0;
        drop(inner);
        for job in waiting {
            let _ = job.reply.send(Err(order.refusal()));
        }
        self.wake.notify_waiters();
    }

    /// Until no task is left.
    pub(crate) async fn ended(&self) {
        loop {
            let changed = self.wake.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.has_ended() {
                return;
            }
            changed.await;
        }
    }

    /// Whether no task is left.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().live == 0
    }

    /// Since when a task of it has nothing to do, if one has.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let inner = self.lock();
        (inner.idle > inner.evicted).then_some(inner.idle_since)
    }

    /// Ends one idle task: its place is needed.
    pub(crate) fn evict_one(&self) {
        let mut inner = self.lock();
        if inner.idle > inner.evicted {
            inner.evicted += 1;
            self.wake.notify_one();
        }
    }

    fn push(
        self: &Arc<Self>,
        call: Call,
        reply: oneshot::Sender<Result<Answer, InvokeError>>,
    ) -> Result<u64, InvokeError> {
        let call_id = call_id(call.call_id.as_deref());
        let mut inner = self.lock();
        let order = *self.orders.borrow();
        if order != Order::Run {
            return Err(order.refusal());
        }
        if inner.spec.version.is_none() {
            return Err(InvokeError::NotInstalled);
        }
        if inner.live == 0
            && let Some(left) = inner.retry_at.and_then(|at| at.checked_duration_since(Instant::now()))
        {
            let why = format!(
                "{} (tried {} times; again in {:.1} s)",
                inner.last_failure,
                inner.failures,
                left.as_secs_f64()
            );
            return Err(InvokeError::Init { why });
        }
        if inner.queue.len() >= QUEUE_CALLS_MAX || inner.queued_bytes + call.body.len() > QUEUE_BYTES_MAX {
            return Err(InvokeError::Busy { why: format!("{} calls wait", inner.queue.len()) });
        }
        let ticket = inner.next_ticket;
        inner.next_ticket += 1;
        inner.queued_bytes += call.body.len();
        inner.queue.push_back(Job { ticket, call, call_id, reply });
        if inner.idle > 0 {
            self.wake.notify_last();
        }
        self.start_task_if_needed(&mut inner);
        Ok(ticket)
    }

    fn put_back(&self, job: Job) {
        let mut inner = self.lock();
        let order = *self.orders.borrow();
        if order != Order::Run {
            let _ = job.reply.send(Err(order.refusal()));
            return;
        }
        inner.queued_bytes += job.call.body.len();
        inner.queue.push_front(job);
    }

    fn withdraw(&self, ticket: u64) -> bool {
        let mut inner = self.lock();
        let Some(at) = inner.queue.iter().position(|job| job.ticket == ticket) else { return false };
        if let Some(job) = inner.queue.remove(at) {
            inner.queued_bytes -= job.call.body.len();
        }
        true
    }

    fn start_task_if_needed(self: &Arc<Self>, inner: &mut Inner) {
        let wanted = inner.queue.len() > inner.idle + inner.starting && inner.live < inner.spec.processes.max(1);
        if wanted && *self.orders.borrow() == Order::Run && inner.spec.version.is_some() {
            inner.live += 1;
            inner.starting += 1;
            tokio::spawn(self.clone().work(inner.spec.clone(), inner.generation));
        }
    }

    /// A task's life.
    async fn work(self: Arc<Self>, spec: Arc<Spec>, generation: u64) {
        let mut seat = Seat { function: self.clone(), starting: true, idle: false };
        let _place = match self.place().await {
            Ok(place) => place,
            Err(error) => return self.fail_waiting(&spec, generation, &error),
        };
        let mut process = match Process::start(self.shared.clone(), &spec).await {
            Ok(process) => process,
            Err(why) => return self.fail_waiting(&spec, generation, &InvokeError::Init { why }),
        };
        seat.up(generation);
        let mut orders = self.orders.subscribe();
        let gently = loop {
            match self.next(&mut seat, &mut process, generation, &mut orders).await {
                Next::Job(job) if process.has_ended() => {
                    // It died while it was idle, and nobody has noticed yet. The call is another process's.
                    self.put_back(*job);
                    process.say("it ended between calls".to_owned());
                    break false;
                }
                Next::Job(job) => {
                    let Job { call, call_id, reply, .. } = *job;
                    let done = process.call(&self.spec(), call, call_id, &mut orders).await;
                    self.shared.calls.add(done.report);
                    let _ = reply.send(done.answer);
                    if !done.keep {
                        break false;
                    }
                }
                Next::Stop => break true,
                Next::Died(why) => {
                    process.say(why);
                    break false;
                }
            }
        };
        let at_once = matches!(*orders.borrow(), Order::Kill | Order::Remove);
        process.stop(gently && !at_once).await;
    }

    /// The next call, or why there is none any more.
    async fn next(
        &self,
        seat: &mut Seat,
        process: &mut Process,
        generation: u64,
        orders: &mut watch::Receiver<Order>,
    ) -> Next {
        let since = Instant::now();
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let spec = {
                let mut inner = self.lock();
                seat.idle(&mut inner, false);
                if *orders.borrow() != Order::Run || inner.generation != generation {
                    return Next::Stop;
                }
                if let Some(job) = inner.queue.pop_front() {
                    inner.queued_bytes -= job.call.body.len();
                    // Nobody waits for it any more, and it has not begun.
                    if job.reply.is_closed() {
                        continue;
                    }
                    return Next::Job(Box::new(job));
                }
                if inner.evicted > 0 {
                    inner.evicted -= 1;
                    return Next::Stop;
                }
                if self.shared.places_wanted.load(Ordering::Relaxed) > 0 {
                    return Next::Stop;
                }
                seat.idle(&mut inner, true);
                inner.spec.clone()
            };
            let left = spec.idle_timeout.saturating_sub(since.elapsed());
            let next = tokio::select! {
                biased;
                () = woken => None,
                _ = orders.changed() => None,
                why = process.idle(&spec) => Some(Next::Died(why)),
                () = tokio::time::sleep(left) => Some(Next::Stop),
            };
            if let Some(next) = next {
                seat.idle(&mut self.lock(), false);
                return next;
            }
        }
    }

    /// A place among all processes of the server. Where all are taken, an idle process of another function gives way.
    async fn place(&self) -> Result<OwnedSemaphorePermit, InvokeError> {
        let places = self.shared.places.clone();
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(place);
        }
        // Who becomes idle from now on gives way by itself; one that is idle already is told to.
        let _wanted = Wanted::new(&self.shared.places_wanted);
        self.shared.evict_idle(&self.id);
        let spec = self.spec();
        let busy =
            || InvokeError::Busy { why: format!("all {} processes are at work", self.shared.settings.processes_max) };
        match tokio::time::timeout(spec.timeout, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(busy()),
        }
    }

    /// No process came up. Where there is no other either, all that wait are told.
    fn fail_waiting(&self, spec: &Spec, generation: u64, error: &InvokeError) {
        let mut inner = self.lock();
        if inner.generation != generation {
            // Of an older generation: the next try is another matter.
            return;
        }
        if let InvokeError::Init { why } = error {
            inner.failures += 1;
            inner.last_failure.clone_from(why);
            inner.retry_at = backoff(inner.failures).map(|wait| Instant::now() + wait);
        }
        if inner.live > inner.starting {
            return;
        }
        let waiting = std::mem::take(&mut inner.queue);
        inner.queued_bytes = 0;
        drop(inner);
        for job in waiting {
            if matches!(error, InvokeError::Init { .. }) {
                self.report_unborn(spec, &job, error);
            }
            let _ = job.reply.send(Err(error.clone()));
        }
    }

    /// A call whose process did not come up is a failed call like any other to whoever looks.
    fn report_unborn(&self, spec: &Spec, job: &Job, error: &InvokeError) {
        let now = (self.shared.settings.now)();
        let note = error.to_string();
        let line = |message: String| LogLine {
            function_id: self.id.clone(),
            function_name: spec.name.as_str().into(),
            app_id: spec.app_id.as_str().into(),
            app_name: spec.app_name.as_str().into(),
            call_id: Some(job.call_id.clone()),
            at: now,
            stream: Stream::Platform,
            message,
            hops: job.call.hops,
        };
        self.shared.sink.write(vec![
            line("Received function invocation request".to_owned()),
            line(format!("Served function invocation request in 0.000 seconds with error code 502 - {note}")),
        ]);
        self.shared.calls.add(CallReport {
            call_id: job.call_id.to_string(),
            function: spec.id.clone(),
            version: spec.version.clone().unwrap_or_default(),
            by: job.call.by.clone(),
            began: now,
            took_ms: 0.0,
            records: job.call.records,
            requests: 0,
            requests_failed: 0,
            status: None,
            state: State::Failed,
            note: Some(note),
            error_lines: 0,
            memory_peak_bytes: 0,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic leaves numbers and a queue, which are whole at every step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's seat among the tasks of its function. However it ends, the numbers are right again, and where calls still
/// wait, another task takes over.
struct Seat {
    function: Arc<Function>,
    starting: bool,
    idle: bool,
}

impl Seat {
    fn up(&mut self, generation: u64) {
        let mut inner = self.function.lock();
        self.starting = false;
        inner.starting -= 1;
        if inner.generation == generation {
            inner.failures = 0;
            inner.retry_at = None;
        }
    }

    fn idle(&mut self, inner: &mut Inner, idle: bool) {
        match (self.idle, idle) {
            (false, true) => {
                inner.idle += 1;
                inner.idle_since = Instant::now();
            }
            (true, false) => inner.idle -= 1,
            _ => {}
        }
        self.idle = idle;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let function = self.function.clone();
        let mut inner = function.lock();
        self.idle(&mut inner, false);
        if self.starting {
            inner.starting -= 1;
        }
        inner.live -= 1;
        inner.evicted = inner.evicted.min(inner.idle);
        function.start_task_if_needed(&mut inner);
        let last = inner.live == 0;
        drop(inner);
        if last {
            function.wake.notify_waiters();
        }
    }
}

/// Says as long as it lives that somebody waits for a place.
struct Wanted<'a>(&'a AtomicUsize);

impl<'a> Wanted<'a> {
    fn new(wanted: &'a AtomicUsize) -> Wanted<'a> {
        wanted.fetch_add(1, Ordering::Relaxed);
        Wanted(wanted)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long to wait after so many failed starts in a row; not after the first.
fn backoff(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(2)?;
    Some(BACKOFF_FIRST.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(BACKOFF_MAX))
}

/// The call's id: the caller's, if it can stand in a header and before a line; else a new one.
fn call_id(given: Option<&str>) -> Arc<str> {
    const BYTES_MAX: usize = 200;
    let is_sound = |id: &&str| {
        !id.is_empty()
            && id.len() <= BYTES_MAX
            && is_header_value(id)
            && id.is_ascii()
            && !id.contains(char::is_whitespace)
    };
    given.filter(is_sound).map_or_else(|| uuid::Uuid::new_v4().simple().to_string().into(), Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_somewhere() {
        let secs: Vec<Option<u64>> = (1..9).map(|n| backoff(n).map(|wait| wait.as_secs())).collect();
        assert_eq!(secs, [None, Some(1), Some(2), Some(4), Some(8), Some(16), Some(30), Some(30)]);
        assert_eq!(backoff(u32::MAX), Some(BACKOFF_MAX));
    }

    #[test]
    fn call_ids_are_kept_where_they_are_sound() {
        assert_eq!(&*call_id(Some("C1/x")), "C1/x");
        for id in [None, Some(""), Some("a b"), Some("a\r\nX: y"), Some("é")] {
            assert_eq!(call_id(id).len(), 32, "{id:?}");
        }
    }
}
