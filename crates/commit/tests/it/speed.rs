//! What an append costs, on a real directory:
//! `cargo test --release -p commit --test it -- --ignored --nocapture --test-threads 1 speed`.
//!
//! Prints figures and asserts none: they depend on the machine. `PENSTOCK_SPEED_DIR` names the directory to work in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use commit::{Appended, Log, LogOptions, Needed, NewFrame, RealDisk, Sync};

use crate::at;

/// CPU seconds of this process so far, user and system.
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    ticks as f64 / 100.0
}

fn options() -> LogOptions {
    LogOptions { keep_bytes: 1 << 30, ..LogOptions::default() }
}

fn dir() -> tempfile::TempDir {
    match std::env::var_os("PENSTOCK_SPEED_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

fn measure(what: &str, appenders: u64, payload_bytes: usize, frames: u64, options: LogOptions) {
    let dir = dir();
    let (log, _) = Log::open(Arc::new(RealDisk::new(dir.path()).unwrap()), options, at(0)).unwrap();
    let payload: Bytes = (0..payload_bytes).map(|index| ((index * 7919) >> 3) as u8).collect::<Vec<u8>>().into();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let run = |from: u64, frames: u64| {
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for appender in 0..appenders {
                let (log, payload) = (log.clone(), payload.clone());
                tasks.spawn(async move {
                    let mut slowest = Duration::ZERO;
                    for number in 0..frames / appenders {
                        let id = u128::from(from + number * appenders + appender);
                        let mut key = [0; 16];
                        key[..8].copy_from_slice(&(id as u64).to_le_bytes());
                        let started = Instant::now();
                        let frame = NewFrame { id, key: Some(key), at: at(0), records: 1, payload: payload.clone() };
                        let appended = log.append(frame).await.unwrap();
                        assert!(matches!(appended, Appended::New(_)));
                        slowest = slowest.max(started.elapsed());
                        if number % 16 == 0 && appender == 0 {
                            log.retain(Needed { store: Some(log.status().durable_to), others: None });
                        }
                    }
                    slowest
                });
            }
            tasks.join_all().await.into_iter().max().unwrap()
        })
    };
    // The first segments are small and zeroed as they come; what is measured is the log as it is after a minute.
    run(0, frames / 4);
    let (syncs, cpu, started) = (log.status().syncs, cpu_secs(), Instant::now());
    let slowest = run(frames, frames);
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_secs() - cpu);
    let bytes = frames as f64 * payload_bytes as f64;
    let syncs = log.status().syncs - syncs;
    println!(
        "{what}: {:.0} MB/s, {:.2} CPU s per 10^9 bytes, {:.2} µs CPU per append, {:.0} appends/s, \
         {:.1} frames per sync, slowest {:.1} ms, {} segments",
        bytes / wall / 1e6,
        cpu / bytes * 1e9,
        cpu / frames as f64 * 1e6,
        frames as f64 / wall,
        frames as f64 / syncs.max(1) as f64,
        slowest.as_secs_f64() * 1e3,
        log.status().segments,
    );
    log.close();
}

#[test]
#[ignore = "prints figures"]
fn append_costs() {
    measure("8 appenders of 1 MB", 8, 1_000_000, 4_000, options());
    measure("64 appenders of 1 KB", 64, 1_000, 640_000, options());
    measure("1 appender of 1 KB", 1, 1_000, 20_000, options());
    let interval = LogOptions { sync: Sync::Interval(Duration::from_millis(100)), ..options() };
    measure("64 appenders of 1 KB, synced every 100 ms", 64, 1_000, 640_000, interval);
}

#[test]
#[ignore = "prints figures"]
fn start_with_a_backlog() {
    let dir = dir();
    let disk = Arc::new(RealDisk::new(dir.path()).unwrap());
    let (log, _) = Log::open(disk.clone(), LogOptions::default(), at(0)).unwrap();
    let payload = Bytes::from(vec![7; 1_000_000]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for round in 0..1_250u64 {
            let answers: Vec<_> = (0..8)
                .map(|index| {
                    let id = u128::from(round * 8 + index);
                    log.append(NewFrame {
                        id,
                        key: Some(id.to_le_bytes()),
                        at: at(0),
                        records: 1,
                        payload: payload.clone(),
                    })
                })
                .collect();
            for answer in answers {
                answer.await.unwrap();
            }
        }
    });
    log.close();
    let (log, recovered) = Log::open(disk, LogOptions::default(), at(0)).unwrap();
    println!("{} segments, {} bytes: open took {:?}", recovered.segments, recovered.bytes, recovered.took);
    let (started, cpu) = (Instant::now(), cpu_secs());
    let mut follower = log.follow(None).unwrap();
    let mut frames = 0;
    while follower.read().unwrap().is_some() {
        frames += 1;
    }
    let wall = started.elapsed().as_secs_f64();
    println!(
        "{frames} frames followed at {:.0} MB/s, {:.2} CPU s per 10^9 bytes",
        frames as f64 / wall,
        (cpu_secs() - cpu) / frames as f64 * 1e3
    );
    let started = Instant::now();
    assert!(log.find(5_000).unwrap().is_some());
    println!("an id was found in {:?}", started.elapsed());
}

#[test]
#[ignore = "prints figures"]
fn a_look_up_among_ten_million_keys() {
    let dir = dir();
    let disk = Arc::new(RealDisk::new(dir.path()).unwrap());
    let (log, _) = Log::open(disk.clone(), LogOptions::default(), at(0)).unwrap();
    let key = |number: u64| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        key
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let offer = |numbers: std::ops::Range<u64>| {
        runtime.block_on(async {
            let mut repeats = 0;
            for start in numbers.clone().step_by(4096) {
                let answers: Vec<_> = (start..(start + 4096).min(numbers.end))
                    .map(|number| {
                        let payload = Bytes::from_static(b"x");
                        log.append(NewFrame {
                            id: number.into(),
                            key: Some(key(number)),
                            at: at(0),
                            records: 1,
                            payload,
                        })
                    })
                    .collect();
                for answer in answers {
                    repeats += u64::from(matches!(answer.await.unwrap(), Appended::Repeat(_)));
                }
                log.retain(Needed { store: Some(log.status().durable_to), others: None });
            }
            repeats
        })
    };
    for million in 0..10 {
        let (started, cpu) = (Instant::now(), cpu_secs());
        offer(million * 1_000_000..(million + 1) * 1_000_000);
        println!(
            "{} keys: {:.2} µs wall, {:.2} µs CPU per new append",
            log.status().dedup_keys,
            started.elapsed().as_secs_f64(),
            cpu_secs() - cpu
        );
    }
    let cpu = cpu_secs();
    let repeats = offer(3_000_000..4_000_000);
    println!("{repeats} repeats: {:.2} µs CPU each", cpu_secs() - cpu);
    log.close();
    let started = Instant::now();
    let (log, recovered) = Log::open(disk, LogOptions::default(), at(0)).unwrap();
    println!("open with {} keys took {:?} ({:?})", log.status().dedup_keys, recovered.took, started.elapsed());
}
