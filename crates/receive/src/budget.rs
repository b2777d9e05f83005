//! The memory budget: a request takes permits for what it will hold before its body is read.
//!
//! It has two halves ([`Memory`]): one for bodies while they come in, at the pace of their senders, and one for the work on
//! them, which ends by itself. Who holds of the first may wait for the second, never the other way round, so nobody waits in
//! a circle, and while one request is written the next one is read.
//!
//! Waiting is first come, first served, with two exceptions, so that one tenant's flood delays itself first: no instance is
//! ever given the last quarter of the budget on top of what it holds, since a client that then stalls could not be made to
//! give it back (senders that nobody knows yet get the first quarter, between them); and while somebody of another instance
//! waits, none is given more than half. A request that waits longer than it may is told to slow down; nothing of it has been
//! stored by then, so nothing is lost.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use event::InstanceId;
use tokio::sync::oneshot;

/// Shared by all listeners of a server.
#[derive(Debug, Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

/// The budget of all requests in flight.
#[derive(Debug, Clone)]
pub struct Memory {
    /// For bodies as they come over the wire.
    pub bodies: Budget,
    /// For what is made of them: inflated bodies, texts unescaped, records, frames.
    pub work: Budget,
}

impl Memory {
    /// So many bytes, one half of them for each.
    pub fn new(bytes_max: usize) -> Memory {
        Memory { bodies: Budget::new(bytes_max / 2), work: Budget::new(bytes_max / 2) }
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.bodies.used() + self.work.used()
    }
}

#[derive(Debug)]
struct Inner {
    bytes_max: usize,
    state: Mutex<State>,
    /// Held by the one permit that is larger than what was there for it.
    overdraft: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    held: HashMap<Option<InstanceId>, usize>,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    instance: Option<InstanceId>,
    bytes: usize,
    wake: oneshot::Sender<Permit>,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    inner: Arc<Inner>,
    instance: Option<InstanceId>,
    bytes: usize,
    /// Given back with the permit.
    overdraft: Option<tokio::sync::OwnedMutexGuard<()>>,
}

/// The budget stayed taken for as long as the request may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes_max: usize) -> Budget {
        Budget { inner: Arc::new(Inner { bytes_max, state: Mutex::default(), overdraft: Arc::default() }) }
    }

    /// Takes `bytes` for a request of `instance`, waiting up to `wait_max`. More than the whole budget counts as the
    /// whole budget, so that a setting can make large requests slow but never impossible.
    pub async fn take(&self, instance: Option<InstanceId>, bytes: usize, wait_max: Duration) -> Result<Permit, Busy> {
        let bytes = bytes.min(self.inner.bytes_max);
        let woken = {
            let mut state = self.inner.lock();
            // Nothing need not wait.
            if bytes == 0 {
                return Ok(self.inner.give(&mut state, instance, 0));
            }
            let fits = state.used + bytes <= self.inner.bytes_max;
            if state.waiting.is_empty() && fits && !self.inner.leaves_too_little(&state, instance, bytes) {
                return Ok(self.inner.give(&mut state, instance, bytes));
            }
            let (wake, woken) = oneshot::channel();
            state.waiting.push_back(Waiter { instance, bytes, wake });
            // Someone of another instance may have come to wait behind a hog; look again with the new queue.
            self.inner.wake_those_that_fit(&mut state);
            woken
        };
        let waited = tokio::time::timeout(wait_max, woken).await;
        match waited {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                // It may have stood before others that fit.
                self.inner.wake_those_that_fit(&mut self.inner.lock());
                Err(Busy)
            }
        }
    }

    /// The same without waiting, and only while nobody waits.
    pub fn try_take(&self, instance: Option<InstanceId>, bytes: usize) -> Option<Permit> {
        let mut state = self.inner.lock();
        let fits = state.waiting.is_empty() && state.used + bytes <= self.inner.bytes_max;
        (fits && !self.inner.leaves_too_little(&state, instance, bytes))
            .then(|| self.inner.give(&mut state, instance, bytes))
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.inner.lock().used
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the budget's lock")
    }

    /// Whether this would be the last quarter in the hands of one instance, or the second in those of senders that nobody
    /// knows yet. A first request of any size passes.
    fn leaves_too_little(&self, state: &State, instance: Option<InstanceId>, bytes: usize) -> bool {
        let held = state.held.get(&instance).copied().unwrap_or(0);
        let quarters = if instance.is_some() { 3 } else { 1 };
        held > 0 && held + bytes > self.bytes_max / 4 * quarters
    }

    fn give(self: &Arc<Self>, state: &mut State, instance: Option<InstanceId>, bytes: usize) -> Permit {
        state.used += bytes;
        *state.held.entry(instance).or_default() += bytes;
        Permit { inner: Arc::clone(self), instance, bytes, overdraft: None }
    }

    fn wake_those_that_fit(self: &Arc<Self>, state: &mut State) {
        // Who has given up waits for nothing, and must not count as somebody who does.
        state.waiting.retain(|waiter| !waiter.wake.is_closed());
        let mut at = 0;
        while let Some(waiter) = state.waiting.get(at) {
            let others_wait = state.waiting.iter().any(|other| other.instance != waiter.instance);
            let held = state.held.get(&waiter.instance).copied().unwrap_or(0);
            let over_half = others_wait && held > 0 && held + waiter.bytes > self.bytes_max / 2;
            // Who has had its share keeps nobody waiting, whether there would be room for it or not.
            if over_half || self.leaves_too_little(state, waiter.instance, waiter.bytes) {
                at += 1;
                continue;
            }
            if state.used + waiter.bytes > self.bytes_max {
                // First come, first served: a large request at the head is not starved by small ones behind it.
                break;
            }
            let waiter = state.waiting.remove(at).expect("it was just looked at");
            let permit = self.give(state, waiter.instance, waiter.bytes);
            if let Err(permit) = waiter.wake.send(permit) {
                // It gave up in this very moment. Counted out here, since dropping it would take the lock that is held.
                let (instance, bytes) = (permit.instance, permit.bytes);
                std::mem::forget(permit);
                release(state, instance, bytes);
            }
        }
    }
}

fn release(state: &mut State, instance: Option<InstanceId>, bytes: usize) {
    state.used -= bytes;
    if let Some(held) = state.held.get_mut(&instance) {
        *held -= bytes;
        if *held == 0 {
            state.held.remove(&instance);
        }
    }
}

impl Permit {
    /// Makes it one for `bytes`, whatever is left of the budget: for what turned out to need more than could be known before.
    /// Waiting for that while holding a permit could be waiting for each other, so nobody waits for the budget here, but only
    /// one permit at a time is larger than it should be.
    pub async fn overdraw(&mut self, bytes: usize) {
        if bytes <= self.bytes {
            return;
        }
        if self.overdraft.is_none() {
            self.overdraft = Some(Arc::clone(&self.inner.overdraft).lock_owned().await);
        }
        let mut state = self.inner.lock();
        state.used += bytes - self.bytes;
        *state.held.entry(self.instance).or_default() += bytes - self.bytes;
        self.bytes = bytes;
    }

    /// Gives back all but `bytes` of it.
    pub fn shrink_to(&mut self, bytes: usize) {
        let given_back = self.bytes.saturating_sub(bytes);
        let inner = Arc::clone(&self.inner);
        let mut state = inner.lock();
        release(&mut state, self.instance, given_back);
        self.bytes -= given_back;
        // Whoever made a frame of what it overdrew for is done with the worst.
        self.overdraft = None;
        if !state.waiting.is_empty() {
            inner.wake_those_that_fit(&mut state);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let inner = Arc::clone(&self.inner);
        let mut state = inner.lock();
        release(&mut state, self.instance, self.bytes);
        if !state.waiting.is_empty() {
            inner.wake_those_that_fit(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(n: u128) -> Option<InstanceId> {
        Some(InstanceId::from_uuid(uuid::Uuid::from_u128(n)))
    }

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn what_is_not_needed_any_more_goes_to_who_waits() {
        let budget = Budget::new(100);
        let mut first = budget.take(instance(1), 80, SOON).await.unwrap();
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(instance(2), 50, SOON).await }
        });
        tokio::task::yield_now().await;
        first.shrink_to(10);
        let second = waiting.await.unwrap().unwrap();
        assert_eq!(budget.used(), 60);
        first.shrink_to(70);
        assert_eq!(budget.used(), 60, "it never grows");
        drop((first, second));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_may_need_more_than_there_is() {
        let budget = Budget::new(100);
        let mut first = budget.take(instance(1), 40, SOON).await.unwrap();
        let mut second = budget.take(instance(2), 40, SOON).await.unwrap();
        first.overdraw(90).await;
        first.overdraw(20).await;
        assert_eq!((first.bytes, budget.used()), (90, 130));
        let waiting = tokio::spawn(async move {
            second.overdraw(95).await;
            second.bytes
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.await.unwrap(), 95);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_its_turn_and_then_slows_down() {
        let budget = Budget::new(100);
        let first = budget.take(instance(1), 80, SOON).await.unwrap();
        assert_eq!(budget.take(instance(1), 30, SOON).await.unwrap_err(), Busy);
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(instance(1), 30, SOON).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap());
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_instance_leaves_half_to_those_that_wait() {
        let budget = Budget::new(100);
        let mut held = Vec::new();
        for _ in 0..7 {
            held.push(budget.take(instance(1), 10, SOON).await.unwrap());
        }
        // The last quarter is nobody's alone: another instance gets in at once.
        assert_eq!(budget.take(instance(1), 10, SOON).await.unwrap_err(), Busy);
        let others: Vec<_> =
            [budget.take(instance(3), 10, SOON).await, budget.take(instance(4), 20, SOON).await].into();
        assert!(others.iter().all(Result::is_ok));
        let take = |n| {
            let budget = budget.clone();
            tokio::spawn(async move { budget.take(instance(n), 10, SOON).await })
        };
        // The flood's own next request stands in the queue before the other instance's.
        let flood = take(1);
        tokio::task::yield_now().await;
        let other = take(2);
        tokio::task::yield_now().await;
        drop(held.pop());
        let other = other.await.unwrap().expect("the other instance goes first");
        drop(other);
        assert!(flood.await.unwrap().is_ok(), "nobody else waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_had_its_share_keeps_nobody_waiting() {
        let budget = Budget::new(100);
        let stranger = budget.take(None, 50, SOON).await.unwrap();
        let another = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(None, 50, SOON).await.is_ok() }
        });
        tokio::task::yield_now().await;
        let good: Vec<_> = [budget.take(instance(1), 10, SOON).await, budget.take(instance(2), 10, SOON).await].into();
        assert!(good.iter().all(Result::is_ok), "behind a stranger that waits and would not fit any more");
        drop(stranger);
        assert!(another.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_everything_counts_as_everything() {
        let budget = Budget::new(100);
        let all = budget.take(None, 1_000, SOON).await.unwrap();
        assert_eq!(budget.used(), 100);
        drop(all);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_left_gives_its_part_back() {
        let budget = Budget::new(100);
        let first = budget.take(None, 100, SOON).await.unwrap();
        assert!(budget.take(None, 100, SOON).await.is_err());
        drop(first);
        assert_eq!(budget.used(), 0);
        assert!(budget.take(None, 100, SOON).await.is_ok());
    }
}
