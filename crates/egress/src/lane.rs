//! A lane: one process's way out. It knows its requests by the token in the proxy's URL, remembers what was asked and
//! answered until somebody takes it, and keeps the connections to hosts that may be used again, which no other lane ever
//! gets. Everything in it is bounded.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use event::Time;
use tokio::sync::{Semaphore, watch};

use crate::Shared;
use crate::destination::Destination;
use crate::dial::Sender;
use crate::failure::cut;

/// Exchanges that are kept between two takes; more are counted only.
const EXCHANGES_MAX: usize = 100_000;
/// And bytes of their texts.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Longest URL that is kept whole.
const URL_BYTES_MAX: usize = 1 << 10;

/// How long a connection may idle until it is thrown away. Shorter than hosts wait, so that none is used at the moment in
/// which its host closes it; long enough for one record after the other.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Connections to one host that are kept.
const IDLE_OF_ONE_MAX: usize = 8;
/// How long a connection whose answer was just read may take to be ready again.
const READY_MAX: Duration = Duration::from_millis(50);

/// Tunnels and requests that a lane has at once; more wait.
const AT_ONCE_MAX: usize = 128;

/// One process's way through the proxy. When it is dropped its token ends, and all of its connections.
pub struct Lane {
    shared: Arc<Shared>,
    address: SocketAddr,
    token: String,
    open: Arc<Open>,
}

/// A request that went out, or did not, and what came back. Neither query nor credentials nor bodies are in it; a path is,
/// whatever it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// `POST`, …; `CONNECT` where it did not come to a request.
    pub method: String,
    /// `https://host/path`, with the port where it is not the scheme's.
    pub url: String,
    /// What the host answered; none if it did not.
    pub status: Option<u16>,
    /// Why there is no answer, or no whole one.
    pub error: Option<String>,
    /// Bytes of the request's body that went out.
    pub sent_bytes: u64,
    /// Bytes of the answer's body that came back.
    pub received_bytes: u64,
    /// When the request's head had been read.
    pub began: Time,
    /// Until the answer's end, or its beginning if it has not ended yet.
    pub took: Duration,
}

impl Lane {
    pub(crate) fn open(shared: Arc<Shared>, address: SocketAddr) -> Lane {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let open = Arc::new(Open::new());
        shared.lanes().insert(token.clone(), Arc::clone(&open));
        Lane { shared, address, token, open }
    }

    /// The value of `HTTP_PROXY` and `HTTPS_PROXY`. It holds the lane's token: a secret of its process.
    pub fn proxy_url(&self) -> String {
        format!("http://{}:x@{}", self.token, self.address)
    }

    /// The exchanges since the last take, in the order in which their answers began. What a process knows of an answer is
    /// in here before the process knows it.
    pub fn take(&self) -> Vec<Exchange> {
        let kept = {
            let mut kept = self.open.kept();
            kept.text_bytes = 0;
            std::mem::take(&mut kept.exchanges)
        };
        kept.into_iter().map(|(exchange, live)| live.onto(exchange)).collect()
    }

    /// How many exchanges there have been since the lane was opened, those included that were too many to be kept.
    pub fn count(&self) -> u64 {
        self.open.kept().count
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.lanes().remove(&self.token);
        self.open.ended.send_replace(true);
        self.open.forget_idle();
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// What the connections of a lane share with it.
pub(crate) struct Open {
    ended: watch::Sender<bool>,
    kept: Mutex<Kept>,
    idle: Mutex<HashMap<Destination, Vec<Idle>>>,
    /// For tunnels and requests.
    pub(crate) room: Arc<Semaphore>,
}

#[derive(Default)]
struct Kept {
    exchanges: Vec<(Exchange, Arc<Live>)>,
    text_bytes: usize,
    count: u64,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

impl Open {
    fn new() -> Open {
        Open {
            ended: watch::Sender::new(false),
            kept: Mutex::default(),
            idle: Mutex::default(),
            room: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        }
    }

    /// When the lane was dropped.
    pub(crate) async fn ended(&self) {
        // The sender is `self`'s own, so it is there.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// A connection that a request before has left, the youngest.
    pub(crate) async fn idle(&self, to: &Destination) -> Option<Sender> {
        loop {
            let mut idle = self.idle_of_all().get_mut(to)?.pop()?;
            if idle.since.elapsed() >= IDLE_MAX || idle.sender.is_closed() {
                continue;
            }
            if let Ok(Ok(())) = tokio::time::timeout(READY_MAX, idle.sender.ready()).await {
                return Some(idle.sender);
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(crate) fn keep_idle(&self, to: &Destination, sender: Sender) {
        if sender.is_closed() || *self.ended.borrow() {
            return;
        }
        let mut idle = self.idle_of_all();
        let of_one = idle.entry(to.clone()).or_default();
        if of_one.len() >= IDLE_OF_ONE_MAX {
            of_one.remove(0);
        }
        of_one.push(Idle { sender, since: Instant::now() });
    }

    /// Closes the connections that were not wanted for a while.
    pub(crate) fn sweep(&self) {
        self.idle_of_all().retain(|_, of_one| {
            of_one.retain(|idle| idle.since.elapsed() < IDLE_MAX && !idle.sender.is_closed());
            !of_one.is_empty()
        });
    }

    /// Closes all that idle.
    pub(crate) fn forget_idle(&self) {
        self.idle_of_all().clear();
    }

    fn keep(&self, exchange: Exchange, live: Arc<Live>) {
        let text_bytes = exchange.url.len() + exchange.error.as_ref().map_or(0, String::len);
        let mut kept = self.kept();
        kept.count += 1;
        if kept.exchanges.len() < EXCHANGES_MAX && kept.text_bytes + text_bytes <= TEXT_BYTES_MAX {
            kept.text_bytes += text_bytes;
            kept.exchanges.push((exchange, live));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_of_all(&self) -> MutexGuard<'_, HashMap<Destination, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An exchange that is under way. Dropped before its end is known, it says so itself: whoever asked did not wait.
pub(crate) struct Record {
    lane: Arc<Open>,
    method: String,
    url: String,
    began: Time,
    live: Arc<Live>,
    is_told: bool,
}

impl Record {
    /// A request whose head has been read.
    pub(crate) fn begin(lane: &Arc<Open>, method: &str, url: String, now: Time) -> Record {
        let live = Live {
            began: Instant::now(),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            took_micros: AtomicU64::new(0),
            is_asked: AtomicBool::new(false),
            error: OnceLock::new(),
        };
        Record {
            lane: Arc::clone(lane),
            // A method may be any word, as long as a head.
            method: cut(method.to_owned(), 64),
            url: cut(url, URL_BYTES_MAX),
            began: now,
            live: Arc::new(live),
            is_told: false,
        }
    }

    /// The part that goes with the bodies.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The head of the answer has come.
    pub(crate) fn answered(mut self, status: u16) {
        self.tell(Some(status), None);
    }

    /// It has not and will not.
    pub(crate) fn failed(mut self, error: String) {
        self.tell(None, Some(error));
    }

    fn tell(&mut self, status: Option<u16>, error: Option<String>) {
        self.is_told = true;
        self.live.ends();
        let exchange = Exchange {
            method: std::mem::take(&mut self.method),
            url: std::mem::take(&mut self.url),
            status,
            error,
            sent_bytes: 0,
            received_bytes: 0,
            began: self.began,
            took: Duration::ZERO,
        };
        self.lane.keep(exchange, Arc::clone(&self.live));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(None, Some("the function did not wait for the answer".to_owned()));
        }
    }
}

/// What of an exchange changes while its bodies move.
pub(crate) struct Live {
    began: Instant,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    took_micros: AtomicU64,
    is_asked: AtomicBool,
    error: OnceLock<String>,
}

// Relaxed throughout: who takes the exchange has been told by its process, whose answer came after the counting.
impl Live {
    /// More of the request's body goes out.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The request's body has gone out whole.
    pub(crate) fn asked(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// More of the answer's body goes back.
    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// As far as is known, this is the end.
    pub(crate) fn ends(&self) {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.took_micros.store(micros, Ordering::Relaxed);
    }

    /// The answer had begun and does not come to its end.
    pub(crate) fn broke(&self, error: String) {
        self.ends();
        // The first reason counts.
        let _ = self.error.set(error);
    }

    fn onto(&self, exchange: Exchange) -> Exchange {
        Exchange {
            error: exchange.error.or_else(|| self.error.get().cloned()),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            took: Duration::from_micros(self.took_micros.load(Ordering::Relaxed)),
            ..exchange
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Arc<Open> {
        Arc::new(Open::new())
    }

    fn ask(lane: &Arc<Open>, url: String) -> Record {
        Record::begin(lane, "GET", url, Time::from_secs(1).unwrap())
    }

    #[test]
    fn more_exchanges_than_anybody_wants_are_counted_only() {
        let lane = open();
        for n in 0..EXCHANGES_MAX + 10 {
            ask(&lane, format!("http://x/{n}")).answered(200);
        }
        let kept = lane.kept();
        assert_eq!((kept.exchanges.len(), kept.count), (EXCHANGES_MAX, EXCHANGES_MAX as u64 + 10));
        drop(kept);

        let lane = open();
        for _ in 0..TEXT_BYTES_MAX / URL_BYTES_MAX + 10 {
            ask(&lane, "ü".repeat(URL_BYTES_MAX)).answered(200);
        }
        let kept = lane.kept();
        assert!(kept.text_bytes <= TEXT_BYTES_MAX && kept.exchanges.len() < kept.count as usize);
        assert!(kept.exchanges.iter().all(|(exchange, _)| exchange.url.len() <= URL_BYTES_MAX + '…'.len_utf8()));
    }

    #[test]
    fn what_happens_after_the_take_is_in_none_and_before_it_in_one() {
        let lane = open();
        let record = ask(&lane, "http://x/".to_owned());
        let live = Arc::clone(record.live());
        live.sent(3);
        record.answered(200);
        live.received(5);
        let (exchange, same) = lane.kept().exchanges.pop().unwrap();
        let exchange = same.onto(exchange);
        assert_eq!((exchange.sent_bytes, exchange.received_bytes, exchange.error.as_deref()), (3, 5, None));
        live.broke("first".to_owned());
        live.broke("second".to_owned());
        assert_eq!(same.onto(exchange).error.as_deref(), Some("first"));

        drop(ask(&lane, "http://x/".to_owned()));
        assert!(lane.kept().exchanges[0].0.error.as_ref().unwrap().contains("did not wait"));
        ask(&lane, "http://x/".to_owned()).failed("no".to_owned());
        assert_eq!(lane.kept().count, 3);
    }
}
