//! One connector's story, told in one task: settle what was frozen, read on, freeze, send, judge, settle.
//!
//! ```text
//!            ┌──── settle: plan row gone, cursor moved, counted; with it the next batch is frozen ◀──┐
//!            ▼                                                                                        │ delivered
//! log ──▶ gather ──▶ freeze: plan row committed ──▶ send ──▶ judge ──▶ retry: wait, same bytes, same key
//!                                                               └────▶ refused: halves, down to the one dead letter
//! ```
//!
//! The order of records is the log's: one batch is under way at a time, and nothing overtakes it. What decides is pure
//! and elsewhere (`backoff`, `targets`, `loops`, `runs`); what survives a crash is `ledger`'s. A connector holds one frame,
//! one batch and its body, and a task of its own, so that a dead target costs the others nothing.
//!
//! A function whose calls are quick would wait for the disk longer than for its calls. Its batches are frozen several at a
//! time, and settled together as soon as all of these are taken, something else comes, or the first has been taken for
//! [`TOGETHER_FOR`]. A crash in between means that it is called again with up to [`TOGETHER_MAX`] batches instead of one. With
//! `http` targets, to which every repeat is a request to somebody else, it stays at one.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use commit::{FollowError, Log};
use event::{Position, RecordId, Time};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::Instant;

use crate::clock::{Clock, Waiting};
use crate::config::{BatchConfig, ConnectorConfig, ConnectorId, Source};
use crate::elements::Elements;
use crate::invoke::{FunctionAnswer, FunctionCall, Invoke};
use crate::ledger::{self, Account, Ledger, Loss, LostRange, Name, Place, Plan, Refusal, Taken, elements_of};
use crate::live::{Live, Phase};
use crate::loops::{self, Gate, Next};
use crate::meter::{Fault, Gauge, Meter, Metric};
use crate::reader::{Flow, Gap, Gathering, PAUSE_BYTES, PAUSE_BYTES_HURRIED, ReadFrame, Reader, Step, Until};
use crate::runs::{self, Call, RunEntry, RunLog, Runs};
use crate::send::{SendError, Sender};
use crate::targets::{self, Target, Verdict, Way, function};
use crate::{DeliverError, backoff, send};

/// How long a request under way may still take once the connector is told to end. With the commits before and after it
/// stays under the five seconds of a clean stop.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// How long more records are waited for before the log is asked again, so that single records under load do not cost a
/// switch of threads each.
const TICK: Duration = Duration::from_millis(20);
/// How long progress over records that the filter left out may go uncommitted.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Most batches of a function that share a transaction, the bytes of their bodies, and how long one may wait for it.
pub(crate) const TOGETHER_MAX: usize = 8;
const TOGETHER_BYTES_MAX: usize = 256 << 10;
const TOGETHER_FOR: Duration = Duration::from_millis(25);

/// What all connectors share.
pub(crate) struct Parts {
    /// First, so that its thread has ended before `changes` closes.
    pub ledger: Ledger,
    pub log: Log,
    pub read: ReadFrame,
    pub schema: Arc<udm::Schema>,
    pub clock: Arc<dyn Clock>,
    pub ca_file: Option<std::path::PathBuf>,
    pub invoke: Option<Arc<dyn Invoke>>,
    pub run_log: Option<Arc<dyn RunLog>>,
    pub meter: Meter,
    /// Made when the first connector needs it.
    pub tls: OnceCell<rustls::ClientConfig>,
    pub changes: watch::Sender<u64>,
}

/// What a connector is told. The number tells one order from the next.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub number: u64,
    pub what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Run(Arc<ConnectorConfig>),
    /// End; a request under way may finish within this time.
    End(Duration),
}

/// One connector's task.
pub(crate) struct Connector {
    pub id: ConnectorId,
    /// The id as rows have it.
    pub name: Name,
    pub parts: Arc<Parts>,
    pub live: Arc<Live>,
    pub gauge: Arc<Gauge>,
    pub orders: watch::Receiver<Order>,
    /// Dead letters are to be sent again.
    pub nudge: Arc<Notify>,
    /// The order that is being followed.
    pub number: u64,
    /// Failures outside of attempts in a row.
    pub troubles: u32,
    /// What is told in the run log.
    pub runs: Runs,
    pub together: Together,
}

/// Batches of a function that share transactions.
#[derive(Debug, Default)]
pub(crate) struct Together {
    /// Frozen, behind the one under way; nothing else is in the ledger.
    frozen: VecDeque<Arc<Plan>>,
    /// Taken by the function, to be settled.
    taken: Vec<Taken>,
    /// When the first of those was taken.
    since: Option<Instant>,
}

impl Together {
    fn take(&mut self, taken: Taken) {
        self.since.get_or_insert_with(Instant::now);
        self.taken.push(taken);
    }

    /// Whether what was taken may wait for more.
    fn may_wait(&self) -> bool {
        self.taken.len() < TOGETHER_MAX && self.since.is_none_or(|since| since.elapsed() < TOGETHER_FOR)
    }

    /// When it may not any more; `None` when nothing waits.
    fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + TOGETHER_FOR)
    }

    fn settled(&mut self) {
        self.taken.clear();
        self.since = None;
    }
}

/// How a batch was made, kept in its plan row so that it can be made again.
#[derive(Serialize, Deserialize)]
struct Recipe {
    source: String,
    form: String,
}

/// What one order needs.
struct Work {
    config: Arc<ConnectorConfig>,
    target: Arc<dyn Target>,
    /// For targets that are reached by HTTP.
    sender: Option<Sender>,
    recipe: String,
}

/// What has been read and is not frozen yet.
#[derive(Default)]
struct Reading {
    reader: Option<Reader>,
    batch: Gathering,
    /// Met where nobody could deal with it.
    gap: Option<Gap>,
}

/// A batch that is ready to be frozen, and what is to be said of how it came about.
struct Cut {
    plan: Arc<Plan>,
    flow: Flow,
    first_passed_over: Option<(RecordId, String)>,
}

/// What to do next.
enum Then {
    /// Look into the ledger: plans, then dead letters to be sent again.
    Look,
    /// Nothing waits there: read the log.
    Read,
    /// This batch is frozen, and nothing is before it.
    Send(Arc<Plan>),
    /// There is another order.
    Ordered,
}

/// What one attempt came to.
struct Outcome {
    verdict: Verdict,
    /// What a dead letter would keep.
    said: Option<(u16, Bytes)>,
    fault: Option<Fault>,
    call: Call,
    /// What speaks against a call that was taken.
    note: Option<String>,
}

impl Connector {
    /// Follows orders until told to end.
    pub(crate) async fn run(mut self) {
        loop {
            let order = self.orders.borrow_and_update().clone();
            self.number = order.number;
            let config = match order.what {
                What::End(_) => return,
                What::Run(config) => config,
            };
            self.live.set_attention(config.attention);
            if let Err(error) = self.heed(&config).await {
                self.trouble(&error).await;
                continue;
            }
            if !config.active {
                self.live.set_phase(Phase::Inactive);
                self.ordered().await;
                continue;
            }
            self.live.set_phase(Phase::Running);
            match self.work(config.clone()).await {
                Ok(()) => self.troubles = 0,
                Err(error) => self.trouble(&error).await,
            }
            self.tell(&config, |runs, now, out| runs.complete(now, out));
        }
    }

    /// Ends when there is another order than the one being followed.
    fn ordered(&self) -> impl Future<Output = ()> + Send + use<> {
        self.ordered_after(self.number)
    }

    fn ordered_after(&self, number: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut orders = self.orders.clone();
        async move {
            // An error means that nobody is left to give orders; that ends this task by dropping it.
            if orders.wait_for(|order| order.number != number).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn is_ordered(&self) -> bool {
        self.orders.borrow().number != self.number
    }

    /// Somebody has given an order since a loop stopped the connector, or nobody has.
    async fn heed(&mut self, config: &ConnectorConfig) -> Result<(), DeliverError> {
        let name = self.name.clone();
        let account = match self.live.account().stopped.next(*config.print.as_bytes(), config.active) {
            Next::Same => return Ok(()),
            Next::Release => self.parts.ledger.write(ledger::release(name)).await?,
            Next::PassOver => {
                let end = self.parts.log.status().durable_to;
                self.parts.ledger.write(ledger::pass_over(name, end)).await?
            }
        };
        self.live.set_account(account);
        Ok(())
    }

    /// An error that is no answer of the target: shown, and tried again from what the ledger says.
    async fn trouble(&mut self, error: &DeliverError) {
        self.troubles = self.troubles.saturating_add(1);
        let wait = backoff::exponential(self.troubles, self.parts.clock.random());
        let reason = egress::chain(error);
        tracing::error!(connector = %self.id, error = %reason, "a connector is in trouble");
        self.live.set_phase(Phase::Stuck { reason: reason.clone() });
        let now = self.parts.clock.now();
        let at = matches!(error, DeliverError::Follow(_)).then_some(Metric::ErrorsAtSource);
        self.gauge.fault(now, at, &Fault::OURS);
        // It may be the ledger itself that fails; then only the phase tells.
        if let Ok(account) = self.parts.ledger.write(ledger::note(self.name.clone(), reason, now)).await {
            self.live.set_account(account);
        }
        let sleep = self.parts.clock.sleep(wait);
        tokio::select! {
            () = sleep => {}
            () = self.ordered() => {}
        }
    }

    async fn work(&mut self, config: Arc<ConnectorConfig>) -> Result<(), DeliverError> {
        let target: Arc<dyn Target> =
            targets::build(&config.target, None).expect("a target without a foreign form can be built").into();
        let sender = match config.target.is_encrypted() {
            None => None,
            Some(true) => Some(Sender::new(config.reach, self.tls().await?)?),
            Some(false) => Some(Sender::new(config.reach, &send::tls(rustls::RootCertStore::empty())?)?),
        };
        let recipe = Recipe { source: config.source.text.clone(), form: target.form() };
        let recipe = serde_json::to_string(&recipe).expect("texts always have a JSON form");
        let work = Work { config, target, sender, recipe };
        let ended = self.follow(&work).await;
        // Whatever it ended with: what was taken is not to be given again.
        let settled = self.settle_taken(&[]).await;
        ended.and(settled)
    }

    async fn follow(&mut self, work: &Work) -> Result<(), DeliverError> {
        let mut reading = Reading::default();
        let mut then = Then::Look;
        loop {
            then = match then {
                Then::Look => {
                    self.settle_taken(&[]).await?;
                    // They are found in their rows.
                    self.together.frozen.clear();
                    let (parts, name) = (self.parts.clone(), self.name.clone());
                    match blocking(move || parts.ledger.head(&name)).await? {
                        Some(plan) => {
                            // Whatever was read on in the meantime begins behind the plan, or is read again.
                            reading = Reading::default();
                            self.settle(work, plan).await?
                        }
                        None => {
                            self.troubles = 0;
                            match self.send_again(work).await? {
                                Some(plan) => self.deliver(work, plan, None).await?,
                                None => Then::Read,
                            }
                        }
                    }
                }
                Then::Read => match self.next_batch(work, &mut reading).await? {
                    Some(plan) => Then::Send(plan),
                    None if self.is_ordered() => Then::Ordered,
                    None => Then::Look,
                },
                Then::Send(plan) => self.deliver(work, plan, Some(&mut reading)).await?,
                Then::Ordered => return Ok(()),
            }
        }
    }

    async fn tls(&self) -> Result<&rustls::ClientConfig, DeliverError> {
        let make = || async {
            let file = self.parts.ca_file.clone();
            blocking(move || send::tls(send::roots(file.as_deref())?)).await
        };
        self.parts.tls.get_or_try_init(make).await
    }

    /// A plan that was found, after a start or a split: with its body from the row, or made again from the log.
    async fn settle(&mut self, work: &Work, mut plan: Plan) -> Result<Then, DeliverError> {
        if plan.body.is_none() {
            plan.body = self.make_again(work, &plan).await?;
        }
        let whole = plan.body.clone().filter(|body| blake3::hash(body) == plan.hash && !plan.members.is_empty());
        if let Some(body) = whole {
            let form = form(&plan.recipe);
            let foreign = targets::build(&work.config.target, Some(&form)).is_none();
            if foreign || outgrown(work, &plan) {
                return self.cut_anew(work, plan, form, body).await;
            }
            return self.deliver(work, Arc::new(plan), None).await;
        }
        tracing::warn!(connector = %self.id, key = plan.key, "a frozen batch cannot be made again and is built anew");
        self.parts.ledger.write(ledger::thaw(self.name.clone())).await?;
        Ok(Then::Look)
    }

    /// A frozen batch that today's document cannot send as it is: the target is another one, or a function has failed with
    /// it and is to be given less at once. Its records are frozen again under new keys.
    async fn cut_anew(&mut self, work: &Work, plan: Plan, form: String, body: Bytes) -> Result<Then, DeliverError> {
        tracing::warn!(connector = %self.id, key = plan.key, "a frozen batch is cut anew for the changed document");
        let (target, limits, recipe) = (work.target.clone(), work.config.batch, work.recipe.clone());
        let ord = plan.ord;
        let pieces = blocking(move || {
            let elements = targets::take_apart(&form, &body, &plan.members);
            let elements = elements.ok_or_else(|| {
                DeliverError::Shape("a frozen batch has a shape that the target of today cannot send".to_owned())
            })?;
            let mut groups = vec![Elements::default()];
            for (record, element) in elements.iter() {
                let last = groups.last_mut().expect("there is always one");
                last.push_encoded(record, element);
                let too_long = last.len() > limits.records_max || target.body_bytes_len(last) > limits.bytes_max;
                if too_long && last.len() > 1 {
                    last.pop();
                    let mut next = Elements::default();
                    next.push_encoded(record, element);
                    groups.push(next);
                }
            }
            let count = groups.len();
            let piece = |(index, elements): (usize, &Elements)| {
                let last = index + 1 == count;
                let piece = self::plan(&*target, elements, recipe.clone(), plan.received_at);
                Plan {
                    // What was read for the batch counts with its last record, as the cursor moves with it.
                    ord: plan.ord - (count - 1 - index) as i64,
                    read: if last { plan.read } else { 0 },
                    passed_over: if last { plan.passed_over } else { 0 },
                    advance: if last { plan.advance } else { None },
                    hops: plan.hops,
                    stored: true,
                    ..piece
                }
            };
            Ok(groups.iter().enumerate().map(piece).collect())
        });
        let account = self.parts.ledger.write(ledger::split(self.name.clone(), ord, pieces.await?, None)).await?;
        self.live.set_account(account);
        Ok(if self.is_ordered() { Then::Ordered } else { Then::Look })
    }

    /// The body of a plan whose row does not hold it: the selected events between the cursor and the plan's end.
    async fn make_again(&self, work: &Work, plan: &Plan) -> Result<Option<Bytes>, DeliverError> {
        let (Ok(recipe), Some(until)) = (serde_json::from_str::<Recipe>(&plan.recipe), plan.advance) else {
            return Ok(None);
        };
        let source = serde_json::from_str(&recipe.source).ok();
        let source = source.and_then(|source| Source::parse(&source, &self.parts.schema).ok());
        let target = targets::build(&work.config.target, Some(&recipe.form));
        let (Some(source), Some(target)) = (source, target) else { return Ok(None) };
        let gate = if work.config.target.function().is_some() { Gate::Leaving } else { Gate::Open };
        let (parts, instance, cursor) = (self.parts.clone(), self.id.instance, self.live.cursor());
        let target: Arc<dyn Target> = target.into();
        blocking(move || {
            let reader = Reader::new(&parts.log, parts.read.clone(), instance, source, target.clone(), gate, cursor);
            let mut reader = match reader {
                Ok(reader) => reader,
                Err(DeliverError::Follow(FollowError::OtherEpoch { .. } | FollowError::Ahead { .. })) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let unlimited = Until {
                limits: BatchConfig { bytes_max: usize::MAX, records_max: usize::MAX, wait: Duration::ZERO },
                place: Some(until),
                pause_bytes: PAUSE_BYTES,
                interrupted: &|| false,
            };
            let mut batch = Gathering::default();
            loop {
                match reader.gather(&mut batch, &unlimited)? {
                    Step::Full if reader.place() == until => return Ok(Some(target.assemble(&batch.elements))),
                    Step::Pause => {}
                    Step::Full | Step::Dry | Step::Gap(_) | Step::Loop(_) => return Ok(None),
                }
            }
        })
        .await
    }

    /// A frozen batch of dead letters that are to be sent again.
    async fn send_again(&self, work: &Work) -> Result<Option<Arc<Plan>>, DeliverError> {
        let (target, limits, recipe) = (work.target.clone(), work.config.batch, work.recipe.clone());
        let (parts, id) = (self.parts.clone(), self.id.clone());
        let made = blocking(move || {
            let mut room = limits;
            let letters = parts.ledger.marked(&id, |letter| {
                let fits = room.records_max > 0 && room.bytes_max > letter.element.len();
                room.records_max = room.records_max.saturating_sub(1);
                room.bytes_max = room.bytes_max.saturating_sub(letter.element.len() + 2);
                fits
            })?;
            let Some(first) = letters.first() else { return Ok(None) };
            let received_at = letters.iter().map(|letter| letter.received_at).min().unwrap_or(first.received_at);
            let plan = plan(&*target, &elements_of(&letters), recipe, received_at);
            Ok(Some((Arc::new(Plan { stored: true, ..plan }), letters)))
        });
        let Some((plan, letters)) = made.await? else { return Ok(None) };
        let freeze = ledger::freeze_again(self.name.clone(), plan.clone(), letters);
        self.live.set_account(self.parts.ledger.write(freeze).await?);
        Ok(Some(plan))
    }

    /// Reads on until a batch is full or has waited long enough, and freezes it. `None`: look at orders and letters
    /// again.
    async fn next_batch(&mut self, work: &Work, reading: &mut Reading) -> Result<Option<Arc<Plan>>, DeliverError> {
        if let Some(gap) = reading.gap.take() {
            self.lose(reading, gap).await?;
            return Ok(None);
        }
        let (mut place_before, mut deadline, mut over) = (None, None, false);
        let mut linger: Option<Waiting> = None;
        let progress_due = Instant::now() + PROGRESS_EVERY;
        loop {
            let (step, cut) = self.gather(work, reading, PAUSE_BYTES).await?;
            if let Some(cut) = cut {
                return Ok(Some(self.freeze(work, cut).await?));
            }
            let empty = reading.batch.elements.is_empty();
            match step {
                Step::Gap(gap) => {
                    self.lose(reading, gap).await?;
                    return Ok(None);
                }
                Step::Loop(hops) => {
                    self.stop_at_loop(work, reading, hops).await?;
                    return Ok(None);
                }
                Step::Full | Step::Dry | Step::Pause => {}
            }
            let open = reading.reader.as_mut().expect("gathering opens it");
            let place = open.place();
            let moved = empty && place != self.live.cursor();
            if self.is_ordered() || (moved && Instant::now() >= progress_due) {
                self.progress(work, reading).await?;
                return Ok(None);
            }
            if step == Step::Dry && self.runs.is_running() {
                linger.get_or_insert_with(|| self.parts.clock.sleep(runs::LINGER));
            } else {
                linger = None;
            }
            if !empty {
                self.live.set_oldest(reading.batch.received_at);
                let waited = deadline.get_or_insert_with(|| self.parts.clock.sleep(work.config.batch.wait));
                let more = async {
                    // Where the log has more, the wait is only looked at: a rare match must not wait for a full batch.
                    tokio::time::sleep(if step == Step::Dry { TICK } else { Duration::ZERO }).await;
                    if step == Step::Dry && !open.changed().await {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = waited => {
                        let cut = self.cut(work, reading).await?;
                        return Ok(Some(self.freeze(work, cut).await?));
                    }
                    () = more => {}
                    () = over_or_never(&mut linger) => {
                        linger = None;
                        self.tell(&work.config, |runs, now, out| runs.complete(now, out));
                    }
                    () = self.ordered() => {}
                }
                continue;
            }
            if step != Step::Dry {
                continue;
            }

            // The log has no more for now.
            self.live.set_oldest(None);
            let nothing_new = place_before == Some(place);
            place_before = Some(place);
            tokio::select! {
                more = open.changed(), if nothing_new && !over => over = !more,
                () = tokio::time::sleep(TICK), if !nothing_new => {}
                () = tokio::time::sleep_until(progress_due), if moved => {}
                () = over_or_never(&mut linger) => {
                    linger = None;
                    self.tell(&work.config, |runs, now, out| runs.complete(now, out));
                }
                () = self.nudge.notified() => {
                    self.progress(work, reading).await?;
                    return Ok(None);
                }
                () = self.ordered() => {}
            }
        }
    }

    /// Commits that everything before the place that was read to was left out by the filter or passed over.
    async fn progress(&mut self, work: &Work, reading: &mut Reading) -> Result<(), DeliverError> {
        let Some(place) = reading.reader.as_ref().map(Reader::place) else { return Ok(()) };
        if !reading.batch.elements.is_empty() || place == self.live.cursor() {
            return Ok(());
        }
        let batch = std::mem::take(&mut reading.batch);
        let advance = ledger::advance(self.name.clone(), place, batch.read, batch.passed_over);
        let account = self.parts.ledger.write(advance).await?;
        self.live.set_account(account);
        self.observe_flow(work, &batch.flow);
        self.tell_passed_over(work, batch.passed_over, batch.first_passed_over.as_ref());
        Ok(())
    }

    /// Adds to the batch, and cuts it if it is full or need not wait for more.
    async fn gather(
        &mut self,
        work: &Work,
        reading: &mut Reading,
        pause_bytes: usize,
    ) -> Result<(Step, Option<Cut>), DeliverError> {
        let mut reader = match reading.reader.take() {
            Some(reader) => reader,
            None => self.open(work).await?,
        };
        let mut batch = std::mem::take(&mut reading.batch);
        let limits = work.config.batch;
        if reader.gather_quick(&mut batch, &limits) {
            let cut = cut(&*work.target, batch, work.recipe.clone(), reader.place());
            reading.reader = Some(reader);
            return Ok((Step::Full, Some(cut)));
        }
        let (orders, number) = (self.orders.clone(), self.number);
        let (target, recipe) = (work.target.clone(), work.recipe.clone());
        let (reader, batch, step, cut) = blocking(move || {
            let interrupted = || orders.borrow().number != number;
            let until = Until { limits, place: None, pause_bytes, interrupted: &interrupted };
            let step = reader.gather(&mut batch, &until)?;
            let ready = match step {
                Step::Full => true,
                Step::Dry | Step::Pause => limits.wait.is_zero(),
                Step::Gap(_) | Step::Loop(_) => false,
            };
            let cut = (ready && !batch.elements.is_empty())
                .then(|| cut(&*target, std::mem::take(&mut batch), recipe, reader.place()));
            Ok((reader, batch, step, cut))
        })
        .await?;
        reading.reader = Some(reader);
        reading.batch = batch;
        Ok((step, cut))
    }

    /// Cuts the batch as it is.
    async fn cut(&self, work: &Work, reading: &mut Reading) -> Result<Cut, DeliverError> {
        let batch = std::mem::take(&mut reading.batch);
        let place = reading.reader.as_ref().expect("a batch comes of a reader").place();
        let (target, recipe) = (work.target.clone(), work.recipe.clone());
        blocking(move || Ok(cut(&*target, batch, recipe, place))).await
    }

    /// Opens the log at the cursor. A cursor that does not fit the log is replaced, and the loss named.
    async fn open(&mut self, work: &Work) -> Result<Reader, DeliverError> {
        loop {
            let parts = self.parts.clone();
            let (source, target) = (work.config.source.clone(), work.target.clone());
            let account = self.live.account();
            let gate = match work.config.target.function() {
                Some(_) => Gate::Watching { skip_to: account.skip_to },
                None => Gate::Open,
            };
            let (instance, cursor) = (self.id.instance, account.cursor);
            let opened = blocking(move || {
                Ok(Reader::new(&parts.log, parts.read.clone(), instance, source, target, gate, cursor))
            });
            let (to, why) = match opened.await? {
                Err(DeliverError::Follow(FollowError::OtherEpoch { .. })) => {
                    (self.parts.log.status().first, Loss::OtherLog)
                }
                // All of a log that was put back from a copy is older than the cursor: it was settled before.
                Err(DeliverError::Follow(FollowError::Ahead { end, .. })) => (end, Loss::Ahead),
                other => return other,
            };
            let gap = Gap { from: cursor.position, to, why };
            self.lose(&mut Reading::default(), gap).await?;
        }
    }

    async fn lose(&mut self, reading: &mut Reading, gap: Gap) -> Result<(), DeliverError> {
        let (batch, at) = (std::mem::take(&mut reading.batch), self.parts.clock.now());
        let range = LostRange { from: gap.from, to: gap.to, why: gap.why, at, acknowledged: false };
        tracing::error!(connector = %self.id, lost = %range, "a connector lost a part of the log");
        self.gauge.fault(at, Some(Metric::ErrorsAtSource), &Fault::OURS);
        let lose = ledger::lose(self.name.clone(), range, batch.read, batch.passed_over);
        let account = self.parts.ledger.write(lose).await?;
        self.live.set_account(account);
        Ok(())
    }

    /// Stops before a record that comes from too many calls, until there is another order.
    async fn stop_at_loop(&mut self, work: &Work, reading: &mut Reading, hops: u32) -> Result<(), DeliverError> {
        self.progress(work, reading).await?;
        let function = work.config.target.function().map_or("", |function| function.shown());
        let feed = reading.reader.as_ref().map(Reader::feed).unwrap_or_default();
        let reason = loops::reason(feed, function, hops);
        let now = self.parts.clock.now();
        tracing::error!(connector = %self.id, reason, "a connector stops");
        let stop = ledger::stop(self.name.clone(), *work.config.print.as_bytes(), reason.clone(), now);
        let account = self.parts.ledger.write(stop).await?;
        self.live.set_account(account);
        self.gauge.fault(now, None, &Fault::LOOP);
        self.tell(&work.config, |runs, now, out| {
            runs.complete(now, out);
            out.push(runs::loop_stopped(now, &reason));
        });
        self.live.set_phase(Phase::Stuck { reason });
        self.ordered().await;
        Ok(())
    }

    async fn freeze(&mut self, work: &Work, cut: Cut) -> Result<Arc<Plan>, DeliverError> {
        self.parts.ledger.write(ledger::freeze(self.name.clone(), cut.plan.clone())).await?;
        Ok(self.frozen(work, cut))
    }

    /// What is to be told of a batch once it is frozen.
    fn frozen(&mut self, work: &Work, cut: Cut) -> Arc<Plan> {
        let Cut { plan, flow, first_passed_over } = cut;
        self.observe_flow(work, &flow);
        self.tell_passed_over(work, plan.passed_over, first_passed_over.as_ref());
        self.tell(&work.config, |runs, now, out| runs.ready(now, flow.source.0, plan.hops, out));
        plan
    }

    /// Sends a frozen batch until it is settled. `reading` is given where nothing but the log comes behind it.
    async fn deliver(
        &mut self,
        work: &Work,
        mut plan: Arc<Plan>,
        reading: Option<&mut Reading>,
    ) -> Result<Then, DeliverError> {
        let body = plan.body.clone().expect("a plan comes here with its body");
        self.live.set_oldest(Some(plan.received_at));
        let target: Arc<dyn Target> = if plan.recipe == work.recipe {
            work.target.clone()
        } else {
            match targets::build(&work.config.target, Some(&form(&plan.recipe))) {
                Some(target) => target.into(),
                None => {
                    let reason = "a frozen batch has a shape that the target of today cannot send".to_owned();
                    return Err(DeliverError::Shape(reason));
                }
            }
        };
        loop {
            let (outcome, settled) = self.attempt(work, &*target, &plan, &body).await;
            if settled {
                self.together.settled();
            }
            let Some(outcome) = outcome else {
                if !plan.stored {
                    self.parts.ledger.write(ledger::keep_body(self.name.clone(), plan.ord, body)).await?;
                }
                return Ok(Then::Ordered);
            };
            let (now, random) = (self.parts.clock.now(), self.parts.clock.random());
            let failures = plan.attempts.saturating_add(1);
            let Outcome { verdict, said, fault, call, note } = outcome;
            if let Some(fault) = &fault {
                self.gauge.fault(now, Some(Metric::ErrorsAtTarget), fault);
            }
            let (wait, reason, stuck) = match verdict {
                Verdict::Delivered => return self.delivered(work, plan, call, note, reading).await,
                Verdict::Refused(reason) => {
                    let (status, answer) = said.expect("only an answer refuses");
                    let refusal = Refusal { status, reason, answer: answer.to_vec() };
                    return self.refused(work, target, plan, body, refusal).await;
                }
                Verdict::Retry(_, reason) if work.config.target.function().is_some() => {
                    (backoff::function(failures, random), reason, false)
                }
                Verdict::Retry(asked, reason) => (backoff::retry(failures, asked, random), reason, false),
                Verdict::SlowDown(asked, reason) => (backoff::slow_down(failures, asked, random), reason, false),
                Verdict::Stuck(reason) => (backoff::ATTENTION, reason, true),
            };

            self.settle_taken(&[]).await?;
            let keep = (!plan.stored).then(|| body.clone());
            plan = Arc::new(Plan { attempts: failures, stored: true, ..Plan::clone(&plan) });
            let failed = ledger::failed(self.name.clone(), plan.ord, failures, keep, reason.clone(), now);
            let account = self.parts.ledger.write(failed).await?;
            tracing::warn!(connector = %self.id, key = plan.key, failures, wait_ms = wait.as_millis() as u64, reason,
                "a batch was not delivered");
            self.tell(&work.config, |runs, now, out| runs.failed(now, &call, &reason, out));
            let next_try = now.saturating_add_nanos(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX));
            let sleep = self.parts.clock.sleep(wait);
            self.live.set_account(account);
            self.live.set_phase(if stuck { Phase::Stuck { reason } } else { Phase::Waiting { reason, next_try } });
            tokio::select! {
                () = sleep => {}
                () = self.ordered() => return Ok(Then::Ordered),
            }
        }
    }

    /// One attempt; no outcome when it was cut off by another order. Besides, whether what had been taken before it was
    /// settled meanwhile, which it is when the attempt takes long.
    async fn attempt(&self, work: &Work, target: &dyn Target, plan: &Plan, body: &Bytes) -> (Option<Outcome>, bool) {
        let began = Instant::now();
        let sending = async {
            let records = plan.members.len() as u64;
            let outcome = match target.way() {
                Way::Http(target) => {
                    let sender = work.sender.as_ref().expect("made with a target that needs it");
                    let answer = sender.send(target.request(body.clone(), &plan.key), target.timeout()).await;
                    self.judge_request(target, answer, records)
                }
                Way::Function(target) => {
                    let call = FunctionCall {
                        connector: self.id.clone(),
                        function: target.function().to_owned(),
                        body: body.clone(),
                        key: plan.key.clone(),
                        records,
                        hops: plan.hops,
                    };
                    let answer = match &self.parts.invoke {
                        Some(invoke) => tokio::time::timeout(target.timeout(), invoke.invoke(call))
                            .await
                            .unwrap_or_else(|_| function::out_of_time(target.timeout())),
                        None => function::nobody_calls(),
                    };
                    judge_call(target, answer, records, plan.hops)
                }
            };
            let latency = began.elapsed().as_secs_f64() * 1_000.0;
            self.gauge.observe(self.parts.clock.now(), &[(Metric::LatencyAtTarget, latency)]);
            outcome
        };
        let mut sending = std::pin::pin!(sending);
        let mut settled = false;
        if let Some(due) = self.together.due() {
            let is_due = tokio::select! {
                outcome = &mut sending => return (Some(outcome), false),
                () = tokio::time::sleep_until(due) => true,
                () = self.ordered() => false,
            };
            if is_due {
                // Not given up midway: it is written even if nobody waits. If it fails, it is tried again after the call.
                let mut settling = std::pin::pin!(self.write_settled(&[]));
                let mut outcome = None;
                settled = loop {
                    tokio::select! {
                        written = &mut settling => break written.is_ok(),
                        said = &mut sending, if outcome.is_none() => outcome = Some(said),
                    }
                };
                if outcome.is_some() {
                    return (outcome, settled);
                }
            }
        }
        tokio::select! {
            outcome = &mut sending => return (Some(outcome), settled),
            () = self.ordered() => {}
        }
        // The target may have it already; a little patience spares it a repeat. A function's call is waited for, as long
        // as the connector is only to do something else: its limit of time is there for that.
        loop {
            let order = self.orders.borrow().clone();
            let patience = match order.what {
                What::End(grace) => grace,
                What::Run(_) if work.config.target.function().is_none() => GRACE,
                What::Run(_) => {
                    tokio::select! {
                        outcome = &mut sending => return (Some(outcome), settled),
                        () = self.ordered_after(order.number) => continue,
                    }
                }
            };
            return (tokio::time::timeout(patience, sending).await.ok(), settled);
        }
    }

    fn judge_request(
        &self,
        target: &targets::http::HttpTarget,
        answer: Result<targets::Answer, SendError>,
        records: u64,
    ) -> Outcome {
        let call = |status| Call { status, records, ..Call::default() };
        let (verdict, said, fault, call) = match answer {
            Ok(answer) => {
                let status = answer.status.as_u16();
                let verdict = target.judge(&answer, self.parts.clock.now());
                let fault = (verdict != Verdict::Delivered).then(|| Fault::of_status(status));
                (verdict, Some((status, answer.body)), fault, call(Some(status)))
            }
            Err(error @ SendError::Unreachable(_)) => {
                (Verdict::Stuck(error.to_string()), None, Some(Fault::NETWORK), call(None))
            }
            Err(error @ SendError::Network(_)) => {
                (Verdict::Retry(None, error.to_string()), None, Some(Fault::NETWORK), call(None))
            }
        };
        Outcome { verdict, said, fault, call, note: None }
    }

    /// The target said yes. What must follow is written however long the disk refuses: sending again would repeat.
    async fn delivered(
        &mut self,
        work: &Work,
        plan: Arc<Plan>,
        call: Call,
        note: Option<String>,
        reading: Option<&mut Reading>,
    ) -> Result<Then, DeliverError> {
        let now = self.parts.clock.now();
        self.together.take(Taken { plan: plan.clone(), note: note.clone().map(|note| (now, note)) });
        let alone = reading.is_some();
        let nudged = self.take_nudge();
        let goes_on = alone && !nudged && !self.is_ordered();
        let waits = goes_on && work.config.target.function().is_some() && self.together.may_wait();
        let mut next = if waits { self.together.frozen.pop_front() } else { None };
        if next.is_none() {
            // What is there already is frozen in the same transaction: one sync of the disk for each batch instead of two.
            let cuts = match reading {
                Some(reading) if goes_on && self.together.frozen.is_empty() => self.read_ahead(work, reading).await,
                _ => Vec::new(),
            };
            while let Err(error) = self.settle_taken(&cuts).await {
                if self.is_ordered() {
                    return Err(error);
                }
                self.trouble(&error).await;
            }
            for cut in cuts {
                let plan = self.frozen(work, cut);
                self.together.frozen.push_back(plan);
            }
            next = if goes_on { self.together.frozen.pop_front() } else { None };
        }
        self.troubles = 0;
        self.live.set_phase(Phase::Running);
        let bytes = plan.body.as_ref().map_or(0, Bytes::len) as f64;
        let age = now.nanos_since(plan.received_at).max(0) as f64 / 1e6;
        let taken = [
            (Metric::BytesWrittenToTarget, bytes),
            (Metric::MessagesWrittenToTarget, plan.members.len() as f64),
            (Metric::DataFreshness, age),
        ];
        self.gauge.observe(now, &taken);
        if let Some(note) = &note {
            tracing::warn!(connector = %self.id, call = call.id, records = call.records, note, "a call is suspicious");
        }
        self.tell(&work.config, |runs, now, out| runs.delivered(now, &call, note.as_deref(), out));
        Ok(match next {
            // What is ordered comes first; the batch is found in its row.
            _ if self.is_ordered() => {
                self.live.set_oldest(None);
                Then::Ordered
            }
            Some(plan) => Then::Send(plan),
            None => {
                self.live.set_oldest(None);
                if goes_on { Then::Read } else { Then::Look }
            }
        })
    }

    /// Settles what was taken, if anything was, and freezes what was cut.
    async fn settle_taken(&mut self, cuts: &[Cut]) -> Result<(), DeliverError> {
        if self.together.taken.is_empty() && cuts.is_empty() {
            return Ok(());
        }
        self.write_settled(cuts).await?;
        self.together.settled();
        Ok(())
    }

    /// The same without taking note of it here.
    async fn write_settled(&self, cuts: &[Cut]) -> Result<(), DeliverError> {
        let next = cuts.iter().map(|cut| cut.plan.clone()).collect();
        let write = ledger::delivered(self.name.clone(), self.together.taken.clone(), next);
        let account: Account = self.parts.ledger.write(write).await?;
        self.live.set_account(account);
        Ok(())
    }

    /// Reads what is there, while batches wait to be settled: not for long, and nothing that goes wrong here counts. More than
    /// one batch only for a function, and as far as it is in memory.
    async fn read_ahead(&mut self, work: &Work, reading: &mut Reading) -> Vec<Cut> {
        // Opening may have to name a loss, which must not be written before what was delivered.
        if reading.reader.is_none() || reading.gap.is_some() {
            return Vec::new();
        }
        let mut cuts = match self.gather(work, reading, PAUSE_BYTES_HURRIED).await {
            Ok((_, Some(cut))) => vec![cut],
            Ok((Step::Gap(gap), None)) => {
                reading.gap = Some(gap);
                return Vec::new();
            }
            Ok((_, None)) => return Vec::new(),
            // It comes up again when it is read in earnest.
            Err(_) => {
                *reading = Reading::default();
                return Vec::new();
            }
        };
        let mut bytes = cuts[0].plan.body.as_ref().map_or(0, Bytes::len);
        while work.config.target.function().is_some() && cuts.len() < TOGETHER_MAX && bytes < TOGETHER_BYTES_MAX {
            let Some(reader) = reading.reader.as_mut() else { break };
            if !reader.gather_quick(&mut reading.batch, &work.config.batch) {
                break;
            }
            let batch = std::mem::take(&mut reading.batch);
            let Cut { plan, flow, first_passed_over } = cut(&*work.target, batch, work.recipe.clone(), reader.place());
            bytes += plan.body.as_ref().map_or(0, Bytes::len);
            let plan = Arc::new(Plan { ord: cuts.len() as i64, ..Arc::unwrap_or_clone(plan) });
            cuts.push(Cut { plan, flow, first_passed_over });
        }
        cuts
    }

    fn take_nudge(&self) -> bool {
        let mut waiting = std::pin::pin!(self.nudge.notified());
        waiting.as_mut().enable()
    }

    /// The target refused the batch: its halves are sent instead, or its only record goes to the dead letters.
    async fn refused(
        &mut self,
        work: &Work,
        target: Arc<dyn Target>,
        plan: Arc<Plan>,
        body: Bytes,
        refusal: Refusal,
    ) -> Result<Then, DeliverError> {
        let now = self.parts.clock.now();
        let alone = plan.members.len() == 1;
        if alone {
            let record = plan.members[0].id;
            tracing::warn!(connector = %self.id, %record, reason = refusal.reason, "a record goes to the dead letters");
        }
        let call = Call { status: Some(refusal.status), records: plan.members.len() as u64, ..Call::default() };
        self.tell(&work.config, |runs, now, out| runs.failed(now, &call, &refusal.reason, out));
        let of = plan.clone();
        let (element, halves) = blocking(move || {
            let Some(elements) = target.take_apart(&body, &of.members) else {
                return Err(DeliverError::Shape("a stored body does not fit its plan".to_owned()));
            };
            if alone {
                return Ok((elements.iter().next().map(|(_, element)| element.to_vec()), Vec::new()));
            }
            let (first, second) = elements.halves();
            let half = |elements: &Elements, ord| {
                let half = self::plan(&*target, elements, of.recipe.clone(), of.received_at);
                Plan { ord, hops: of.hops, stored: true, ..half }
            };
            // What was read for the batch counts with its last record, as the cursor moves with it.
            let last =
                Plan { read: of.read, passed_over: of.passed_over, advance: of.advance, ..half(&second, of.ord) };
            Ok((None, vec![half(&first, of.ord - 1), last]))
        })
        .await?;
        let name = self.name.clone();
        let account = match element {
            Some(element) => self.parts.ledger.write(ledger::bury(name, plan, element, refusal, now)).await?,
            None => {
                let error = Some((now, refusal.reason));
                self.parts.ledger.write(ledger::split(name, plan.ord, halves, error)).await?
            }
        };
        if alone {
            self.live.set_phase(Phase::Running);
        }
        self.live.set_oldest(None);
        self.live.set_account(account);
        Ok(if self.is_ordered() { Then::Ordered } else { Then::Look })
    }

    fn observe_flow(&self, work: &Work, flow: &Flow) {
        if flow.source.0 == 0 {
            return;
        }
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        let (source, task) = (flow.source, flow.task);
        let read = [
            (Metric::MessagesReadFromSource, source.0 as f64),
            (Metric::BytesReadFromSource, source.1 as f64),
            (Metric::LatencyAtSource, millis(flow.reading.saturating_sub(flow.filtering))),
            (Metric::MessagesWrittenToTask, source.0 as f64),
            (Metric::BytesWrittenToTask, source.1 as f64),
            (Metric::MessagesReadFromTask, task.0 as f64),
            (Metric::BytesReadFromTask, task.1 as f64),
            (Metric::LatencyAtTask, millis(flow.filtering)),
        ];
        let count = if work.config.source.has_filter() { read.len() } else { 3 };
        self.gauge.observe(self.parts.clock.now(), &read[..count]);
    }

    fn tell_passed_over(&mut self, work: &Work, count: u64, first: Option<&(RecordId, String)>) {
        let Some((record, feed)) = first else { return };
        let first = format!("{record} of {}", feed.strip_prefix("oci/").unwrap_or(feed));
        tracing::warn!(connector = %self.id, count, first, "records of a loop were passed over");
        self.tell(&work.config, |_, now, out| out.push(runs::loop_passed_over(now, count, &first)));
    }

    /// Writes into the run log, if the connector keeps one.
    fn tell(&mut self, config: &ConnectorConfig, say: impl FnOnce(&mut Runs, Time, &mut Vec<RunEntry>)) {
        let Some(log) = self.parts.run_log.as_ref().filter(|_| config.run_log) else { return };
        let mut entries = Vec::new();
        say(&mut self.runs, self.parts.clock.now(), &mut entries);
        for entry in entries {
            log.write(&self.id, entry);
        }
    }
}

fn judge_call(target: &function::FunctionTarget, answer: FunctionAnswer, records: u64, hops: u32) -> Outcome {
    let verdict = target.judge(&answer);
    let call = |id, status| Call { id, status, records, hops };
    let (call, fault, note) = match answer {
        FunctionAnswer::Answered { call_id, status, suspicious, .. } => {
            let fault = (status != 200).then(|| Fault::of_status(status));
            (call(Some(call_id), Some(status)), fault, suspicious)
        }
        FunctionAnswer::Failed { call_id, status, .. } => {
            (call(call_id, status), Some(status.map_or(Fault::NETWORK, Fault::of_status)), None)
        }
        FunctionAnswer::Unknown { .. } => (call(None, None), Some(Fault::UNKNOWN), None),
    };
    Outcome { verdict, said: None, fault, call, note }
}

/// Whether a function that has failed with a batch would not be given as much today.
fn outgrown(work: &Work, plan: &Plan) -> bool {
    let limits = work.config.batch;
    let bytes: usize = plan.members.iter().map(|member| member.bytes_len as usize + 1).sum();
    work.config.target.function().is_some()
        && plan.attempts > 0
        && plan.members.len() > 1
        && (plan.members.len() > limits.records_max || bytes + 1 > limits.bytes_max)
}

/// What was gathered, as a frozen batch under a new key that ends here.
fn cut(target: &dyn Target, batch: Gathering, recipe: String, end: Place) -> Cut {
    let plan = plan(target, &batch.elements, recipe, batch.received_at.unwrap_or_default());
    let plan = Plan { read: batch.read, passed_over: batch.passed_over, hops: batch.hops, advance: Some(end), ..plan };
    Cut { plan: Arc::new(plan), flow: batch.flow, first_passed_over: batch.first_passed_over }
}

/// A new frozen batch under a new key.
fn plan(target: &dyn Target, elements: &Elements, recipe: String, received_at: Time) -> Plan {
    let body = target.assemble(elements);
    Plan {
        ord: 0,
        key: uuid::Uuid::new_v4().to_string(),
        recipe,
        members: elements.members().to_vec(),
        hash: blake3::hash(&body),
        body: Some(body),
        stored: false,
        received_at,
        attempts: 0,
        read: 0,
        advance: None,
        hops: 0,
        passed_over: 0,
    }
}

/// The shape of body that a recipe names.
fn form(recipe: &str) -> String {
    serde_json::from_str::<Recipe>(recipe).map(|recipe| recipe.form).unwrap_or_default()
}

/// Ends with a wait, or never where there is none.
async fn over_or_never(waiting: &mut Option<Waiting>) {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

/// Runs what blocks on a thread that may. A panic there is our bug; the connector shows it and tries again.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DeliverError> + Send + 'static,
) -> Result<T, DeliverError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(DeliverError::Bug(error)),
    }
}

/// Where a new connector begins.
pub(crate) fn start(config: &ConnectorConfig, log: &Log) -> Position {
    let status = log.status();
    match config.start {
        crate::config::Start::Now => status.durable_to,
        crate::config::Start::Oldest => status.first,
    }
}
