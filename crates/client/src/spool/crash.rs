//! Tests: the spool is stopped after every step that changes its folder, in two ways. A copy of the folder, taken at the
//! step, is what `kill -9` would leave; an error at the step is what a full or broken disk would do. Whatever happens,
//! each record whose push was acknowledged is accepted once, given a receiver that knows a repeat by its bytes.
//!
//! What a power cut does to names that were not synced is not simulated here.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::third_party::{Answer, ThirdParty};

use crate::{Chronicle, Credentials, Error, RetryPolicy, SecOpsClient, Spool, SpoolOptions};

type Bodies = HashSet<(String, Vec<u8>)>;

/// A receiver that remembers what it took. Refuses requests with the number that `poison` is.
struct Receiver {
    _server: ThirdParty,
    taken: Arc<Mutex<Bodies>>,
    poison: Arc<Mutex<Option<usize>>>,
    chronicle: Chronicle,
}

impl Receiver {
    async fn start() -> Receiver {
        let server = ThirdParty::start().await;
        let taken = Arc::new(Mutex::new(Bodies::new()));
        let poison = Arc::new(Mutex::new(None));
        let (in_rule, poison_in_rule) = (taken.clone(), poison.clone());
        server.rule(move |request| {
            let body = request.plain();
            let poison = *poison_in_rule.lock().unwrap();
            if poison.is_some_and(|poison| numbers(&body).contains(&poison)) {
                return Answer::status(400);
            }
            in_rule.lock().unwrap().insert((request.path.clone(), body));
            Answer::ok()
        });
        let client = SecOpsClient::builder()
            .credentials(Credentials::bearer("t"))
            .base_url(server.url(""))
            .proxies(false)
            .retry(RetryPolicy::never())
            .build()
            .unwrap();
        let chronicle = client.chronicle("c8c65bfa-5f2c-42d4-9189-64bb7b939f2c", "p", "us").unwrap();
        Receiver { _server: server, taken, poison, chronicle }
    }

    async fn open(&self, dir: &Path) -> Spool {
        Spool::open(dir, &self.chronicle, SpoolOptions::default()).await.unwrap()
    }

    /// How often each number was taken.
    fn counts(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for (_, body) in self.taken.lock().unwrap().iter() {
            numbers(body).into_iter().for_each(|number| *counts.entry(number).or_default() += 1);
        }
        counts
    }

    #[track_caller]
    fn check(&self, acknowledged: &[usize], what: &str) {
        let counts = self.counts();
        let lost: Vec<_> = acknowledged.iter().filter(|number| !counts.contains_key(number)).collect();
        let doubled: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(lost.is_empty() && doubled.is_empty(), "{what}: lost {lost:?}, doubled {doubled:?}");
    }
}

/// The numbers of the records in a body.
fn numbers(body: &[u8]) -> Vec<usize> {
    let json: Value = serde_json::from_slice(body).unwrap();
    let source = &json["inlineSource"];
    let list = source["events"].as_array().or_else(|| source["entities"].as_array()).unwrap();
    list.iter().map(|item| item["udm"]["n"].as_u64().or(item["n"].as_u64()).unwrap() as usize).collect()
}

/// Pushes one record. Whether it was acknowledged.
async fn push(spool: &Spool, number: usize) -> bool {
    let pushed = match number % 3 {
        0 => spool.push_udm([json!({"n": number})]).await,
        1 => spool.push_entities("OKTA", [json!({"n": number})]).await,
        _ => spool.push_entities("AWS", [json!({"n": number})]).await,
    };
    match pushed {
        Ok(()) => true,
        Err(Error::Spool(_)) => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// What a producer does: pushes, drains, meets a refusal, puts it back, drains. Opens the spool anew when the disk lets
/// it down. `acknowledged` grows as it goes.
async fn story(receiver: &Receiver, dir: &Path, hook: Hook, acknowledged: &Mutex<Vec<usize>>) {
    let hook = Arc::new(hook);
    let hooked = async || {
        let spool = receiver.open(dir).await;
        let hook = hook.clone();
        spool.disk.lock().unwrap().hook = Box::new(move |step| hook(step));
        spool
    };
    let mut spool = hooked().await;
    for step in 0..18 {
        let went_well = match step {
            4 | 9 | 17 => drained(&spool).await,
            8 => {
                *receiver.poison.lock().unwrap() = Some(6);
                true
            }
            14 => {
                *receiver.poison.lock().unwrap() = None;
                spool.requeue_refused().await.is_ok()
            }
            number => {
                let pushed = push(&spool, number).await;
                if pushed {
                    acknowledged.lock().unwrap().push(number);
                }
                pushed
            }
        };
        if !went_well {
            drop(spool);
            spool = hooked().await;
        }
    }
    drop(spool);
    finish(receiver, dir).await;
}

/// `false` when the disk failed.
async fn drained(spool: &Spool) -> bool {
    match spool.drain().await {
        Ok(_) => true,
        Err(Error::Spool(_)) => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// A new process without trouble: all that is left is sent, and the folder is empty afterwards.
async fn finish(receiver: &Receiver, dir: &Path) {
    *receiver.poison.lock().unwrap() = None;
    let spool = receiver.open(dir).await;
    spool.requeue_refused().await.unwrap();
    spool.drain().await.unwrap();
    let status = spool.status().await.unwrap();
    assert_eq!((status.records, status.bytes, status.damaged_bytes), (0, 0, 0));
    for folder in ["waiting", "frozen", "refused", "damaged"] {
        assert_eq!(std::fs::read_dir(dir.join(folder)).unwrap().count(), 0, "{folder}");
    }
}

type Hook = Box<dyn Fn(&'static str) -> io::Result<()> + Send + Sync>;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What `kill -9` at a step leaves behind: the folder, and what the rest of the world knows by then.
struct Killed {
    step: &'static str,
    folder: TempDir,
    acknowledged: Vec<usize>,
    taken: Bodies,
}

async fn killed_at_every_step(receiver: &Receiver) -> Vec<Killed> {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let killed = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let (dir, acknowledged, killed) = (dir.path().to_owned(), acknowledged.clone(), killed.clone());
        let taken = receiver.taken.clone();
        Box::new(move |step| {
            let folder = tempfile::tempdir().unwrap();
            copy(&dir, folder.path());
            let acknowledged = acknowledged.lock().unwrap().clone();
            let taken = taken.lock().unwrap().clone();
            killed.lock().unwrap().push(Killed { step, folder, acknowledged, taken });
            Ok(())
        })
    };
    story(receiver, dir.path(), hook, &acknowledged).await;
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert_eq!(acknowledged.len(), 13);
    receiver.check(&acknowledged, "without any trouble");
    std::mem::take(&mut *killed.lock().unwrap())
}

#[tokio::test]
async fn a_kill_at_any_step_loses_nothing_and_doubles_nothing() {
    let receiver = Receiver::start().await;
    let all = killed_at_every_step(&receiver).await;
    let steps: HashSet<&str> = all.iter().map(|killed| killed.step).collect();
    let expected = [
        "segment created",
        "frames written",
        "frames synced",
        "request written",
        "requests frozen",
        "segment removed",
        "request removed",
        "frozen folder removed",
        "reply written",
        "request set aside",
        "request put back",
    ];
    assert_eq!(steps, HashSet::from(expected));
    for Killed { step, folder, acknowledged, taken } in &all {
        *receiver.taken.lock().unwrap() = taken.clone();
        finish(&receiver, folder.path()).await;
        receiver.check(acknowledged, step);
    }
}

#[tokio::test]
async fn a_push_that_is_cut_off_at_any_byte_takes_nothing_with_it() {
    let receiver = Receiver::start().await;
    let all = killed_at_every_step(&receiver).await;
    // The third push: two acknowledged records before it in the same segment.
    let killed = all.iter().filter(|killed| killed.step == "frames written").nth(2).unwrap();
    let segment = |folder: &Path| std::fs::read_dir(folder.join("waiting")).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(segment(killed.folder.path())).unwrap();
    let durable = super::segment::scan(&bytes[..bytes.len() - 1]).end;
    assert!(durable > 0 && durable < bytes.len());
    for length in durable..=bytes.len() {
        // Cut, or there in length but not in content, as some file systems leave it.
        for mend in [vec![], vec![0; bytes.len() - length]] {
            let folder = tempfile::tempdir().unwrap();
            copy(killed.folder.path(), folder.path());
            std::fs::write(segment(folder.path()), [&bytes[..length], &mend].concat()).unwrap();
            *receiver.taken.lock().unwrap() = killed.taken.clone();
            let spool = receiver.open(folder.path()).await;
            assert!(push(&spool, 900).await);
            drop(spool);
            finish(&receiver, folder.path()).await;
            let acknowledged: Vec<usize> = killed.acknowledged.iter().copied().chain([900]).collect();
            receiver.check(&acknowledged, &format!("cut at {length}"));
        }
    }
}

#[tokio::test]
async fn a_disk_that_fails_at_any_step_loses_nothing_and_doubles_nothing() {
    let receiver = Receiver::start().await;
    let mut failing = 0;
    loop {
        receiver.taken.lock().unwrap().clear();
        let dir = tempfile::tempdir().unwrap();
        let acknowledged = Mutex::new(Vec::new());
        let steps = Arc::new(AtomicUsize::new(0));
        let hook = {
            let steps = steps.clone();
            Box::new(move |_| match steps.fetch_add(1, Ordering::Relaxed) {
                step if step == failing => Err(io::Error::other("no space")),
                _ => Ok(()),
            })
        };
        story(&receiver, dir.path(), hook, &acknowledged).await;
        let acknowledged = acknowledged.into_inner().unwrap();
        receiver.check(&acknowledged, &format!("failed at step {failing}"));
        if steps.load(Ordering::Relaxed) <= failing {
            assert_eq!(acknowledged.len(), 13, "the last round had no failure left");
            break;
        }
        assert!(acknowledged.len() >= 12, "one failure costs at most its own push");
        failing += 1;
    }
    assert!(failing > 40, "{failing} steps");
}
