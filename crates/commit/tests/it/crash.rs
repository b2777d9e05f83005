//! Crashes at every step: acknowledged ⊆ recovered ⊆ appended, nothing twice, keys as the frames.
//!
//! A run is several lives of one log on one simulated disk. Each life opens the log, checks it against the model,
//! appends and retains by a script drawn from the seed, and ends by a crash at a given step of the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use commit::{Appended, Disk, Followed, Log, LogOptions, Needed, NewFrame, Sync};
use event::Position;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::time::Duration;
use testkit::disk::SimDisk;

use crate::{at, small, wait};

/// What the senders of a log remember.
#[derive(Clone, Default)]
struct Model {
    next_id: u128,
    /// Every frame ever handed to the log, by id.
    offered: BTreeMap<u128, NewFrame>,
    /// Those that were answered "new", and where.
    acknowledged: BTreeMap<u128, Position>,
    /// What was asked to be let go.
    released: Option<Position>,
    recycled: bool,
}

impl Model {
    fn frame(&mut self, random: &mut StdRng) -> NewFrame {
        self.next_id += 1;
        let id = self.next_id;
        let bytes = match random.random_range(0..10) {
            0 => 0,
            1..=5 => random.random_range(1..700),
            6..=8 => random.random_range(1..6000),
            _ => random.random_range(1..30_000),
        };
        let payload: Vec<u8> = (0..bytes).map(|_| random.random()).collect();
        let key = random.random_bool(0.7).then(|| {
            let mut key = [0xAB; 16];
            key[..8].copy_from_slice(&(id as u64).to_le_bytes());
            key
        });
        let frame = NewFrame { id, key, at: at(id as i64), records: 1, payload: payload.into() };
        self.offered.insert(id, frame.clone());
        frame
    }

    /// Holds what a freshly opened log has against what the senders remember. Returns the ids that are there.
    fn check(&mut self, log: &Log, context: &str) -> BTreeSet<u128> {
        let mut follower = log.follow(None).unwrap();
        let first = follower.position();
        let mut there = BTreeMap::new();
        while let Some(followed) = follower.read().unwrap() {
            let Followed::Frame { position, id, key, at, payload, .. } = followed else {
                panic!("{context}: {followed:?}");
            };
            let offered = self.offered.get(&id).unwrap_or_else(|| panic!("{context}: {id} was never appended"));
            assert!(offered.payload == payload && offered.key == key && offered.at == at, "{context}: {id} is altered");
            assert_eq!(there.insert(id, position), None, "{context}: {id} is there twice");
            let found = log.find(id).unwrap().map(|found| (found.position, found.next));
            assert_eq!(found, Some((position, follower.position())), "{context}: find {id}");
        }
        for (id, position) in &self.acknowledged {
            match there.get(id) {
                Some(got) => assert_eq!(got, position, "{context}: {id} moved"),
                None => {
                    let may_be_gone = self.released.is_some_and(|released| *position < released) && *position < first;
                    assert!(may_be_gone, "{context}: {id} at {position} was acknowledged and is lost; first {first}");
                }
            }
        }
        // What is there now will be there for ever: followers have seen it.
        self.acknowledged.extend(there.iter().map(|(id, position)| (*id, *position)));
        there.into_keys().collect()
    }

    /// Offers again every frame that has a key. Those that are (or were) in the log are repeats, the others are new.
    fn check_keys(&mut self, log: &Log, context: &str) {
        let keyed: Vec<NewFrame> = self.offered.values().filter(|frame| frame.key.is_some()).cloned().collect();
        for frame in keyed {
            let id = frame.id;
            match (wait(log.append(frame)).unwrap(), self.acknowledged.get(&id)) {
                (Appended::Repeat(receipt), Some(position)) => {
                    assert_eq!((receipt.id(), receipt.position()), (id, *position), "{context}: receipt of {id}");
                }
                (Appended::New(receipt), None) => {
                    self.acknowledged.insert(id, receipt.position());
                }
                (answer, known) => panic!("{context}: {id} again gives {answer:?}, it is known at {known:?}"),
            }
        }
    }

    /// Works until the script is over or the disk fails.
    fn live(&mut self, log: &Log, random: &mut StdRng, rounds: usize) {
        for _ in 0..rounds {
            let frames: Vec<NewFrame> = (0..random.random_range(1..6)).map(|_| self.frame(random)).collect();
            let mut ids = Vec::new();
            let mut answers = Vec::new();
            for frame in frames {
                ids.push(frame.id);
                answers.push(log.append(frame.clone()));
                if frame.key.is_some() && random.random_bool(0.2) {
                    ids.push(frame.id);
                    answers.push(log.append(frame));
                }
            }
            let mut over = false;
            for (id, answer) in ids.into_iter().zip(answers) {
                match wait(answer) {
                    Ok(Appended::New(receipt)) => {
                        assert_eq!(receipt.id(), id);
                        let before = self.acknowledged.insert(id, receipt.position());
                        assert_eq!(before, None, "{id} was new twice");
                    }
                    Ok(Appended::Repeat(receipt)) => {
                        let position = Some(receipt.position());
                        assert_eq!(self.acknowledged.get(&id).copied(), position, "repeat of {id}");
                    }
                    Err(_) => over = true,
                }
            }
            if over {
                return;
            }
            if random.random_bool(0.3) {
                let mut follower = log.follow(self.released).unwrap();
                for _ in 0..random.random_range(0..12) {
                    if follower.read().unwrap().is_none() {
                        break;
                    }
                }
                self.released = Some(follower.position());
                self.recycled = true;
                log.retain(Needed { store: self.released, others: None });
            }
        }
    }
}

/// One run. `ends` says at which step each life ends; the last life is only checked.
fn run(seed: u64, ends: &[Option<u64>], rounds: usize, options: &LogOptions) -> u64 {
    let mut disk = SimDisk::new(seed);
    let mut random = StdRng::seed_from_u64(seed);
    let mut model = Model::default();
    let mut steps = 0;
    for (life, end) in ends.iter().enumerate() {
        if let Some(step) = end {
            disk.crash_at(*step);
        }
        let opened = Log::open(Arc::new(disk.clone()), options.clone(), at(0));
        let context = format!("seed {seed}, lives ended at {ends:?}, life {life}");
        match opened {
            Ok((log, recovered)) => {
                assert_eq!(recovered.damaged, [], "{context}");
                model.check(&log, &context);
                model.live(&log, &mut random, rounds);
            }
            Err(error) => assert!(disk.has_crashed(), "{context}: {error:?}"),
        }
        steps = disk.steps();
        let seed = random.random();
        // Now and then only the process dies, and the cache lives on.
        disk = if random.random_bool(0.2) { disk.restart(seed) } else { disk.crash(seed) };
    }
    let context = format!("seed {seed}, lives ended at {ends:?}, the end");
    let (log, recovered) = Log::open(Arc::new(disk.clone()), options.clone(), at(0)).unwrap();
    assert_eq!(recovered.damaged, [], "{context}");
    model.check(&log, &context);
    model.check_keys(&log, &context);
    log.close();
    let report = commit::verify(&disk, &mut |_, _| ()).unwrap();
    assert!(report.is_whole(), "{context}: {report:?}");
    steps
}

#[test]
fn a_crash_at_every_step_loses_nothing_that_was_acknowledged() {
    for seed in 0..3 {
        let steps = run(seed, &[None], 25, &small());
        assert!(steps > 80, "the script must meet the ends of segments: {steps} steps");
        for step in 1..=steps {
            run(seed, &[Some(step)], 25, &small());
        }
    }
}

#[test]
fn crash_upon_crash_loses_nothing_either() {
    for seed in 100..300 {
        let mut random = StdRng::seed_from_u64(!seed);
        let ends: Vec<_> = (0..6).map(|_| Some(random.random_range(1..70))).collect();
        run(seed, &ends, 12, &small());
    }
}

#[test]
fn nor_does_it_with_the_helper_on_a_thread_of_its_own() {
    let options = LogOptions { one_thread: false, ..small() };
    for seed in 500..600 {
        let mut random = StdRng::seed_from_u64(!seed);
        let ends: Vec<_> = (0..4).map(|_| Some(random.random_range(1..90))).collect();
        run(seed, &ends, 12, &options);
    }
}

/// Any step fails once, without a crash; then a crash. A full disk is survived, anything else ends writing.
#[test]
fn a_failure_at_every_step_loses_nothing() {
    let options = LogOptions { full_retry: Duration::ZERO, ..small() };
    for (seed, kind) in [(1, ErrorKind::Other), (2, ErrorKind::StorageFull)] {
        let steps = run(seed, &[None], 12, &options);
        for step in 1..=steps {
            let disk = SimDisk::new(seed);
            let mut random = StdRng::seed_from_u64(seed);
            let mut model = Model::default();
            disk.fail_step(step, kind);
            let mut opened = Log::open(Arc::new(disk.clone()), options.clone(), at(0));
            for _ in 0..3 {
                if let Ok((log, _)) = &opened {
                    model.live(log, &mut random, 6);
                }
            }
            let context = format!("{kind:?} at step {step}");
            if let Ok((log, _)) = &mut opened {
                // Reads go on whatever happened.
                let mut follower = log.follow(None).unwrap();
                while let Some(followed) = follower.read().unwrap() {
                    let well = match &followed {
                        Followed::Frame { .. } => true,
                        // The last call of `retain` may take effect between the follower's start and its first look.
                        Followed::Lost { to, .. } => model.released.is_some_and(|released| *to <= released),
                        Followed::Damaged { .. } => false,
                    };
                    assert!(well, "{context}: {followed:?}");
                }
            }
            let after = if step % 2 == 0 { disk.crash(step) } else { disk.restart(step) };
            let (log, recovered) = Log::open(Arc::new(after.clone()), options.clone(), at(0)).unwrap();
            assert_eq!(recovered.damaged, [], "{context}");
            model.check(&log, &context);
            model.check_keys(&log, &context);
            log.close();
            // What followers were shown after a restart stands on the platter, too.
            let (log, _) = Log::open(Arc::new(after.crash(step)), options.clone(), at(0)).unwrap();
            model.check(&log, &context);
            log.close();
        }
    }
}

/// With a weaker sync, what was synced survives, and the rest is a prefix that followers never saw.
#[test]
fn a_weaker_sync_still_recovers_a_prefix() {
    let options = LogOptions { sync: Sync::Interval(Duration::from_secs(3600)), ..small() };
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let mut random = StdRng::seed_from_u64(seed);
        let (log, _) = Log::open(Arc::new(disk.clone()), options.clone(), at(0)).unwrap();
        let mut model = Model::default();
        let mut order = Vec::new();
        for _ in 0..20 {
            let frame = model.frame(&mut random);
            order.push(frame.id);
            wait(log.append(frame)).unwrap();
        }
        let mut seen = Vec::new();
        let mut follower = log.follow(None).unwrap();
        while let Some(Followed::Frame { id, .. }) = follower.read().unwrap() {
            seen.push(id);
        }
        let cursor = follower.position();
        let (log, recovered) = Log::open(Arc::new(disk.crash(seed)), options.clone(), at(0)).unwrap();
        assert_eq!(recovered.damaged, [], "seed {seed}");
        let there: Vec<u128> = model.check(&log, &format!("seed {seed}")).into_iter().collect();
        assert!(order.starts_with(&there), "seed {seed}: {there:?} of {order:?}");
        assert!(there.starts_with(&seen), "seed {seed}: a follower saw {seen:?}, the log has {there:?}");
        log.follow(Some(cursor)).unwrap();
    }
}

/// A kill leaves names that every process sees and that are not durable. Whatever the next life builds on them must
/// survive the crash of the machine: a recycled file must not go back to the name of the segment that it was, and keys
/// must not go with their segment.
#[test]
fn what_a_life_builds_on_a_killed_one_survives_a_crash() {
    // Appends and lets go, in the same order of steps every time: a repeat changes nothing, and the second one is
    // answered only after the chores.
    let work = |model: &mut Model, log: &Log, random: &mut StdRng, appends: usize| {
        for round in 0..=appends {
            if round > 0 {
                let frame = NewFrame { payload: vec![round as u8; 3000].into(), key: None, ..model.frame(random) };
                let frame = NewFrame { key: Some(frame.id.to_le_bytes()), ..frame };
                model.offered.insert(frame.id, frame.clone());
                let Ok(appended) = wait(log.append(frame)) else { return };
                model.acknowledged.insert(appended.receipt().id(), appended.receipt().position());
            }
            model.released = Some(log.status().durable_to);
            log.retain(Needed { store: model.released, others: None });
            let Some(known) = model.offered.values().next() else { continue };
            for _ in 0..2 {
                let _chores_done = wait(log.append(known.clone()));
            }
        }
    };
    let mut crashes = 0;
    for kill in 1.. {
        let disk = SimDisk::new(kill);
        let mut random = StdRng::seed_from_u64(kill);
        let mut model = Model::default();
        disk.crash_at(kill);
        let opened = Log::open(Arc::new(disk.clone()), small(), at(0));
        if let Ok((log, _)) = &opened {
            work(&mut model, log, &mut random, 5);
        }
        if !disk.has_crashed() {
            break;
        }
        for step in 1.. {
            let (disk, mut model) = (disk.restart(kill), model.clone());
            let context = format!("killed at step {kill}, crashed at step {step}");
            // A directory is listed in any order: the next life may take the newest spare first.
            let mut spares: Vec<String> = disk.names();
            spares.retain(|name| name.starts_with("spare-") && !name.ends_with(".tmp"));
            spares.sort_by_key(|name| (name.len(), name.clone()));
            spares.pop();
            for name in spares {
                disk.remove(&name).unwrap();
            }
            disk.crash_at(disk.steps() + step);
            if let Ok((log, recovered)) = Log::open(Arc::new(disk.clone()), small(), at(0)) {
                assert_eq!(recovered.damaged, [], "{context}");
                model.check(&log, &context);
                work(&mut model, &log, &mut random, 1);
            }
            if !disk.has_crashed() {
                break;
            }
            for seed in 0..4 {
                crashes += 1;
                let context = format!("{context}, seed {seed}");
                let mut model = model.clone();
                let (log, recovered) = Log::open(Arc::new(disk.crash(seed)), small(), at(0)).unwrap();
                assert_eq!(recovered.damaged, [], "{context}");
                model.check(&log, &context);
                model.check_keys(&log, &context);
            }
        }
    }
    assert!(crashes > 1000, "{crashes} crashes");
}
