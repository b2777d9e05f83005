//! One connector's story, told in one task: settle what was frozen, read on, freeze, send, judge, settle.
//!
//! ```text
//!            ┌───────────────────────────── settle: plan row gone, cursor moved, counted ◀──┐
//!            ▼                                                                               │ delivered
//! log ──▶ gather ──▶ freeze: plan row committed ──▶ send ──▶ judge ──▶ retry: wait, same bytes, same key
//!                                                               └────▶ refused: halves, down to the one dead letter
//! ```
//!
//! The order of records is the log's: one batch is under way at a time, and nothing overtakes it. What decides is pure
//! and elsewhere (`backoff`, `targets`); what survives a crash is `ledger`'s. A connector holds one frame, one batch
//! and its body, and a task of its own, so that a dead target costs the others nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use commit::{FollowError, Log};
use event::{Position, Time};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::{BatchConfig, ConnectorConfig, ConnectorId, Source};
use crate::elements::Elements;
use crate::ledger::{Account, Ledger, Loss, LostRange, Place, Plan, Refusal, elements_of};
use crate::live::{Live, Phase};
use crate::reader::{Gathering, ReadFrame, Reader, Step};
use crate::send::{SendError, Sender};
use crate::targets::{self, Answer, Target, Verdict};
use crate::{DeliverError, backoff, send};

/// How long a request under way may still take once the connector is told to end. With the commits before and after it
/// stays under the five seconds of a clean stop.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// How long more records are waited for before the log is asked again, so that single records under load do not cost a
/// switch of threads each.
const TICK: Duration = Duration::from_millis(20);
/// How long progress over records that the filter left out may go uncommitted.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What all connectors share.
pub(crate) struct Parts {
    pub ledger: Ledger,
    pub log: Log,
    pub read: ReadFrame,
    pub schema: Arc<udm::Schema>,
    pub clock: Arc<dyn Clock>,
    pub ca_file: Option<std::path::PathBuf>,
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
    pub parts: Arc<Parts>,
    pub live: Arc<Live>,
    pub orders: watch::Receiver<Order>,
    /// Dead letters are to be sent again.
    pub nudge: Arc<Notify>,
    /// The order that is being followed.
    pub number: u64,
    /// Failures outside of attempts in a row.
    pub troubles: u32,
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
    sender: Sender,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Go,
    /// There is another order.
    Ordered,
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
            if !config.active {
                self.live.set_phase(Phase::Inactive);
                self.ordered().await;
                continue;
            }
            self.live.set_phase(Phase::Running);
            match self.work(config).await {
                Ok(()) => self.troubles = 0,
                Err(error) => self.trouble(&error).await,
            }
        }
    }

    /// Ends when there is another order than the one being followed.
    fn ordered(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut orders, number) = (self.orders.clone(), self.number);
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

    /// An error that is no answer of the target: shown, and tried again from what the ledger says.
    async fn trouble(&mut self, error: &DeliverError) {
        self.troubles = self.troubles.saturating_add(1);
        let wait = backoff::exponential(self.troubles, self.parts.clock.random());
        let reason = whole(error);
        tracing::error!(connector = %self.id, error = %reason, "a connector is in trouble");
        self.live.set_phase(Phase::Stuck { reason: reason.clone() });
        let now = self.parts.clock.now();
        // It may be the ledger itself that fails; then only the phase tells.
        if let Ok(account) = self.ledger(move |ledger, id| ledger.note(id, &reason, now)).await {
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
        let sender = if config.target.is_encrypted() {
            Sender::new(config.reach, self.tls().await?)?
        } else {
            Sender::new(config.reach, &send::tls(rustls::RootCertStore::empty())?)?
        };
        let work = Work { config, target, sender };
        let mut reader = None;
        loop {
            let head = self.ledger(Ledger::head).await?;
            if let Some(plan) = head {
                // Whatever was read on in the meantime begins behind the plan, or is read again.
                reader = None;
                match self.settle(&work, plan).await? {
                    Flow::Go => continue,
                    Flow::Ordered => return Ok(()),
                }
            }
            self.troubles = 0;
            if let Some(plan) = self.send_again(&work).await? {
                match self.deliver(&work, plan).await? {
                    Flow::Go => continue,
                    Flow::Ordered => return Ok(()),
                }
            }
            let Some(plan) = self.next_batch(&work, &mut reader).await? else {
                if self.is_ordered() {
                    return Ok(());
                }
                continue;
            };
            match self.deliver(&work, plan).await? {
                Flow::Go => {}
                Flow::Ordered => return Ok(()),
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
    async fn settle(&mut self, work: &Work, mut plan: Plan) -> Result<Flow, DeliverError> {
        if plan.body.is_none() {
            plan.body = self.make_again(work, &plan).await?;
        }
        let whole = plan.body.as_ref().is_some_and(|body| blake3::hash(body) == plan.hash);
        if whole && !plan.members.is_empty() {
            return self.deliver(work, plan).await;
        }
        tracing::warn!(connector = %self.id, key = plan.key, "a frozen batch cannot be made again and is built anew");
        self.ledger(Ledger::thaw).await?;
        Ok(Flow::Go)
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
        let (parts, instance, cursor) = (self.parts.clone(), self.id.instance, self.live.cursor());
        let target: Arc<dyn Target> = target.into();
        blocking(move || {
            let reader = Reader::new(&parts.log, parts.read.clone(), instance, source, target.clone(), cursor);
            let mut reader = match reader {
                Ok(reader) => reader,
                Err(DeliverError::Follow(FollowError::OtherEpoch { .. } | FollowError::Ahead { .. })) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let unlimited = BatchConfig { bytes_max: usize::MAX, records_max: usize::MAX, wait: Duration::ZERO };
            let mut batch = Gathering::default();
            loop {
                match reader.gather(&mut batch, &unlimited, Some(until), &|| false)? {
                    Step::Full if reader.place() == until => return Ok(Some(target.assemble(&batch.elements))),
                    Step::Pause => {}
                    Step::Full | Step::Dry | Step::Gap(_) => return Ok(None),
                }
            }
        })
        .await
    }

    /// A frozen batch of dead letters that are to be sent again.
    async fn send_again(&self, work: &Work) -> Result<Option<Plan>, DeliverError> {
        let (target, limits) = (work.target.clone(), work.config.batch);
        let recipe = recipe(work);
        let frozen = self.ledger(move |ledger, id| {
            let mut room = limits;
            let letters = ledger.marked(id, |letter| {
                let fits = room.records_max > 0 && room.bytes_max > letter.element.len();
                room.records_max = room.records_max.saturating_sub(1);
                room.bytes_max = room.bytes_max.saturating_sub(letter.element.len() + 2);
                fits
            })?;
            let Some(first) = letters.first() else { return Ok(None) };
            let received_at = letters.iter().map(|letter| letter.received_at).min().unwrap_or(first.received_at);
            let elements = elements_of(&letters);
            let plan = plan(&*target, &elements, recipe, received_at, None).kept();
            let account = ledger.freeze_again(id, &plan, &letters)?;
            Ok(Some((plan, account)))
        });
        let Some((plan, account)) = frozen.await? else { return Ok(None) };
        self.live.set_account(account);
        Ok(Some(plan))
    }

    /// Reads on until a batch is full or has waited long enough, and freezes it. `None`: look at orders and letters
    /// again.
    async fn next_batch(&self, work: &Work, reader: &mut Option<Reader>) -> Result<Option<Plan>, DeliverError> {
        let mut batch = Gathering::default();
        let (mut place_before, mut deadline, mut over) = (None, None, false);
        let progress_due = Instant::now() + PROGRESS_EVERY;
        loop {
            let (open, gathered, step) = self.gather(work, reader.take(), batch).await?;
            let open = reader.insert(open);
            batch = gathered;
            let empty = batch.elements.is_empty();
            let moved = empty && open.place() != self.live.cursor();
            if let Step::Gap(gap) = step {
                let at = self.parts.clock.now();
                let range = LostRange { from: gap.from, to: gap.to, why: gap.why, at, acknowledged: false };
                self.lose(range, batch.read).await?;
                return Ok(None);
            }
            if step == Step::Full && !empty {
                return Ok(Some(self.freeze(work, batch, open.place()).await?));
            }
            if self.is_ordered() || (moved && Instant::now() >= progress_due) {
                self.progress(open.place(), &batch).await?;
                return Ok(None);
            }
            if !empty {
                self.live.set_oldest(batch.received_at);
                if work.config.batch.wait.is_zero() {
                    return Ok(Some(self.freeze(work, batch, open.place()).await?));
                }
                let waited = deadline.get_or_insert_with(|| self.parts.clock.sleep(work.config.batch.wait));
                // Where the log has more, the wait is only looked at: a rare match must not wait for a full batch.
                let pause = if step == Step::Dry { TICK } else { Duration::ZERO };
                tokio::select! {
                    () = waited => return Ok(Some(self.freeze(work, batch, open.place()).await?)),
                    () = tokio::time::sleep(pause) => {}
                    () = self.ordered() => {}
                }
                continue;
            }
            if step != Step::Dry {
                continue;
            }

            // The log has no more for now.
            self.live.set_oldest(None);
            let nothing_new = place_before == Some(open.place());
            place_before = Some(open.place());
            tokio::select! {
                more = open.changed(), if nothing_new && !over => over = !more,
                () = tokio::time::sleep(TICK), if !nothing_new => {}
                () = tokio::time::sleep_until(progress_due), if moved => {}
                () = self.nudge.notified() => {
                    self.progress(open.place(), &batch).await?;
                    return Ok(None);
                }
                () = self.ordered() => {}
            }
        }
    }

    /// Commits that everything before this place was read and left out by the filter.
    async fn progress(&self, place: Place, batch: &Gathering) -> Result<(), DeliverError> {
        if batch.elements.is_empty() && place != self.live.cursor() {
            let read = batch.read;
            let account = self.ledger(move |ledger, id| ledger.advance(id, place, read)).await?;
            self.live.set_account(account);
        }
        Ok(())
    }

    async fn gather(
        &self,
        work: &Work,
        reader: Option<Reader>,
        mut batch: Gathering,
    ) -> Result<(Reader, Gathering, Step), DeliverError> {
        let mut reader = match reader {
            Some(reader) => reader,
            None => self.open(work).await?,
        };
        let (orders, number) = (self.orders.clone(), self.number);
        let limits = work.config.batch;
        blocking(move || {
            let interrupted = || orders.borrow().number != number;
            let step = reader.gather(&mut batch, &limits, None, &interrupted)?;
            Ok((reader, batch, step))
        })
        .await
    }

    /// Opens the log at the cursor. A cursor that does not fit the log is replaced, and the loss named.
    async fn open(&self, work: &Work) -> Result<Reader, DeliverError> {
        loop {
            let parts = self.parts.clone();
            let (source, target) = (work.config.source.clone(), work.target.clone());
            let (instance, cursor) = (self.id.instance, self.live.cursor());
            let opened =
                blocking(move || Ok(Reader::new(&parts.log, parts.read.clone(), instance, source, target, cursor)));
            let (to, why) = match opened.await? {
                Err(DeliverError::Follow(FollowError::OtherEpoch { .. })) => {
                    (self.parts.log.status().first, Loss::OtherLog)
                }
                // All of a log that was put back from a copy is older than the cursor: it was settled before.
                Err(DeliverError::Follow(FollowError::Ahead { end, .. })) => (end, Loss::Ahead),
                other => return other,
            };
            let (from, at) = (cursor.position, self.parts.clock.now());
            self.lose(LostRange { from, to, why, at, acknowledged: false }, 0).await?;
        }
    }

    async fn lose(&self, range: LostRange, read: u64) -> Result<(), DeliverError> {
        tracing::error!(connector = %self.id, lost = %range, "a connector lost a part of the log");
        let account = self.ledger(move |ledger, id| ledger.lose(id, &range, read)).await?;
        self.live.set_account(account);
        Ok(())
    }

    async fn freeze(&self, work: &Work, batch: Gathering, end: Place) -> Result<Plan, DeliverError> {
        let (target, recipe) = (work.target.clone(), recipe(work));
        self.ledger(move |ledger, id| {
            let received_at = batch.received_at.unwrap_or_default();
            let plan = Plan { read: batch.read, ..plan(&*target, &batch.elements, recipe, received_at, Some(end)) };
            ledger.freeze(id, &plan)?;
            Ok(plan)
        })
        .await
    }

    /// Sends a frozen batch until it is settled.
    async fn deliver(&mut self, work: &Work, mut plan: Plan) -> Result<Flow, DeliverError> {
        let body = plan.body.clone().expect("a plan comes here with its body");
        self.live.set_oldest(Some(plan.received_at));
        let form = serde_json::from_str::<Recipe>(&plan.recipe).map(|recipe| recipe.form).unwrap_or_default();
        let target: Arc<dyn Target> = if form == work.target.form() {
            work.target.clone()
        } else {
            match targets::build(&work.config.target, Some(&form)) {
                Some(target) => target.into(),
                None => {
                    let reason = "a frozen batch has a shape that the target of today cannot send".to_owned();
                    return Err(DeliverError::Shape(reason));
                }
            }
        };
        loop {
            let Some(outcome) = self.attempt(work, &*target, &plan, &body).await else {
                if !plan.stored {
                    let ord = plan.ord;
                    self.ledger(move |ledger, id| ledger.keep_body(id, ord, &body)).await?;
                }
                return Ok(Flow::Ordered);
            };
            let (now, random) = (self.parts.clock.now(), self.parts.clock.random());
            let failures = plan.attempts.saturating_add(1);
            let (verdict, answer) = match outcome {
                Ok(answer) => (target.judge(&answer, now), Some(answer)),
                Err(error @ SendError::Unreachable(_)) => (Verdict::Stuck(error.to_string()), None),
                Err(error @ SendError::Network(_)) => (Verdict::Retry(None, error.to_string()), None),
            };
            let (wait, reason, stuck) = match verdict {
                Verdict::Delivered => return self.delivered(plan).await,
                Verdict::Refused(reason) => {
                    let answer = answer.expect("only an answer refuses");
                    return self.refused(target, plan, body, reason, answer).await;
                }
                Verdict::Retry(asked, reason) => (backoff::retry(failures, asked, random), reason, false),
                Verdict::SlowDown(asked, reason) => (backoff::slow_down(failures, asked, random), reason, false),
                Verdict::Stuck(reason) => (backoff::ATTENTION, reason, true),
            };

            plan.attempts = failures;
            let keep = (!plan.stored).then(|| body.clone());
            plan.stored = true;
            let (row, error) = (Plan { body: None, ..plan.clone() }, reason.clone());
            let account = self.ledger(move |ledger, id| ledger.failed(id, &row, keep.as_ref(), &error, now)).await?;
            tracing::warn!(connector = %self.id, key = plan.key, failures, wait_ms = wait.as_millis() as u64, reason,
                "a batch was not delivered");
            let next_try = now.saturating_add_nanos(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX));
            let sleep = self.parts.clock.sleep(wait);
            self.live.set_account(account);
            self.live.set_phase(if stuck { Phase::Stuck { reason } } else { Phase::Waiting { reason, next_try } });
            tokio::select! {
                () = sleep => {}
                () = self.ordered() => return Ok(Flow::Ordered),
            }
        }
    }

    /// One attempt. `None` when it was cut off by another order.
    async fn attempt(
        &self,
        work: &Work,
        target: &dyn Target,
        plan: &Plan,
        body: &Bytes,
    ) -> Option<Result<Answer, SendError>> {
        let sending = work.sender.send(target.request(body.clone(), &plan.key), target.timeout());
        let mut sending = std::pin::pin!(sending);
        tokio::select! {
            outcome = &mut sending => return Some(outcome),
            () = self.ordered() => {}
        }
        // The target may have it already; a little patience spares it a repeat.
        let grace = match &self.orders.borrow().what {
            What::End(grace) => *grace,
            What::Run(_) => GRACE,
        };
        tokio::time::timeout(grace, sending).await.ok()
    }

    /// The target said yes. What must follow is written however long the disk refuses: sending again would repeat.
    async fn delivered(&mut self, plan: Plan) -> Result<Flow, DeliverError> {
        let plan = Arc::new(Plan { body: None, ..plan });
        loop {
            let row = plan.clone();
            let error = match self.ledger(move |ledger, id| ledger.delivered(id, &row)).await {
                Ok(account) => {
                    self.live.set_phase(Phase::Running);
                    return Ok(self.settled(account));
                }
                Err(error) => error,
            };
            if self.is_ordered() {
                return Err(error);
            }
            self.trouble(&error).await;
        }
    }

    /// The target refused the batch: its halves are sent instead, or its only record goes to the dead letters.
    async fn refused(
        &self,
        target: Arc<dyn Target>,
        plan: Plan,
        body: Bytes,
        reason: String,
        answer: Answer,
    ) -> Result<Flow, DeliverError> {
        let now = self.parts.clock.now();
        let alone = plan.members.len() == 1;
        if alone {
            let record = plan.members[0].id;
            tracing::warn!(connector = %self.id, %record, reason, "a record goes to the dead letters");
        }
        let account = self.ledger(move |ledger, id| {
            let Some(elements) = target.take_apart(&body, &plan.members) else {
                return Err(DeliverError::Shape("a stored body does not fit its plan".to_owned()));
            };
            if alone {
                let element = elements.iter().next().map(|(_, element)| element).unwrap_or_default();
                let refusal = Refusal { status: answer.status.as_u16(), reason, answer: answer.body.to_vec() };
                return ledger.bury(id, &plan, element, &refusal, now);
            }
            let (first, second) = elements.halves();
            let half = |elements: &Elements, ord, read, advance| {
                let half = self::plan(&*target, elements, plan.recipe.clone(), plan.received_at, advance);
                Plan { ord, read, ..half }.kept()
            };
            // What was read for the batch counts with its last record, as the cursor moves with it.
            let halves = [half(&first, plan.ord - 1, 0, None), half(&second, plan.ord, plan.read, plan.advance)];
            ledger.split(id, &plan, &halves, &reason, now)
        });
        let account = account.await?;
        if alone {
            self.live.set_phase(Phase::Running);
        }
        Ok(self.settled(account))
    }

    fn settled(&self, account: Account) -> Flow {
        self.live.set_oldest(None);
        self.live.set_account(account);
        if self.is_ordered() { Flow::Ordered } else { Flow::Go }
    }

    /// Does something with the ledger, which may wait for the disk, off the runtime.
    async fn ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger, &ConnectorId) -> Result<T, DeliverError> + Send + 'static,
    ) -> Result<T, DeliverError> {
        let (parts, id) = (self.parts.clone(), self.id.clone());
        blocking(move || work(&parts.ledger, &id)).await
    }
}

impl Plan {
    /// The same with its body in the row.
    fn kept(self) -> Plan {
        Plan { stored: true, ..self }
    }
}

/// A new frozen batch under a new key.
fn plan(target: &dyn Target, elements: &Elements, recipe: String, received_at: Time, advance: Option<Place>) -> Plan {
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
        advance,
    }
}

fn recipe(work: &Work) -> String {
    let recipe = Recipe { source: work.config.source.text.clone(), form: work.target.form() };
    serde_json::to_string(&recipe).expect("texts always have a JSON form")
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

/// An error with its causes in one line.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Where a new connector begins.
pub(crate) fn start(config: &ConnectorConfig, log: &Log) -> Position {
    let status = log.status();
    match config.start {
        crate::config::Start::Now => status.durable_to,
        crate::config::Start::Oldest => status.first,
    }
}
