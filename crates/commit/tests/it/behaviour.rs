//! What the log promises, one story each.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use commit::{
    AppendError, Appended, Disk, FollowError, Followed, Log, LogError, LogOptions, LogState, Needed, NewFrame,
    RealDisk, Sync, verify,
};
use event::{Position, limits};
use testkit::disk::{SimDisk, fuzz_log_recovery};

use crate::{append, at, frame, open, read_all, small, story, wait};

#[track_caller]
fn new(log: &Log, frame: NewFrame) -> Position {
    let id = frame.id;
    match append(log, frame).unwrap() {
        Appended::New(receipt) if receipt.id() == id => receipt.position(),
        other => panic!("{id} should be new: {other:?}"),
    }
}

#[track_caller]
fn repeat(log: &Log, frame: NewFrame, first: u128) {
    match append(log, frame).unwrap() {
        Appended::Repeat(receipt) => assert_eq!(receipt.id(), first),
        other => panic!("should repeat {first}: {other:?}"),
    }
}

/// A log with frame 1 (key 1, so many bytes) whose thread has done all its chores: the next step of the disk is the next
/// append's. A repeat changes nothing, and is answered only after the chores that the append before it left.
#[track_caller]
fn settled(disk: &SimDisk, options: &LogOptions, bytes: usize) -> Log {
    let (log, _) = open(disk, options);
    new(&log, frame(1, Some(1), bytes));
    repeat(&log, frame(1, Some(1), bytes), 1);
    log
}

#[test]
fn what_was_appended_is_read_in_order_and_found_by_id_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::new(dir.path()).unwrap());
    let options = LogOptions { segment_bytes: 32 << 10, ..LogOptions::default() };
    let sizes = [0, 1, 7, 8, 9, 4000, 20_000, 100_000, 3, 31_000, 5, 24_495, 24_496, 24_497];
    let frames: Vec<NewFrame> =
        sizes.iter().enumerate().map(|(index, size)| frame(index as u128 + 1, Some(index as u8), *size)).collect();
    for life in 0..2 {
        let (log, recovered) = Log::open(disk.clone(), options.clone(), at(0)).unwrap();
        assert_eq!(recovered.damaged, []);
        if life == 0 {
            for frame in &frames {
                new(&log, frame.clone());
            }
        }
        let mut next = recovered.first;
        let read = read_all(&log);
        assert_eq!(read.len(), frames.len());
        for (expected, read) in frames.iter().zip(read) {
            let Followed::Frame { position, next: after, id, key, at, records, payload } = read else {
                panic!("{read:?}");
            };
            assert_eq!((position, id, key, at, records), (next, expected.id, expected.key, expected.at, 1));
            assert_eq!(payload, expected.payload);
            let found = log.find(id).unwrap().unwrap();
            assert_eq!((found.position, found.next, found.key), (position, after, key));
            next = after;
            // Any cursor can be taken up again.
            let mut from_here = log.follow(Some(position)).unwrap();
            assert!(matches!(from_here.read().unwrap(), Some(Followed::Frame { id: got, .. }) if got == id));
        }
        assert_eq!(log.find(99).unwrap(), None);
        assert_eq!(log.status().durable_to, next);
        log.close();
        assert_eq!(append(&log, frames[0].clone()), Err(AppendError::Closed));
        assert_eq!(log.status().state, LogState::Closed);
    }
}

#[test]
fn cursors_of_another_log_or_from_the_future_are_refused() {
    let (log, _) = open(&SimDisk::new(0), &small());
    let end = log.status().durable_to;
    let other = Position { epoch: end.epoch ^ 1, offset: 0 };
    assert!(matches!(log.follow(Some(other)), Err(FollowError::OtherEpoch { .. })));
    let ahead = Position { offset: end.offset + 8, ..end };
    assert!(matches!(log.follow(Some(ahead)), Err(FollowError::Ahead { .. })));
    log.follow(Some(end)).unwrap();
}

#[test]
fn the_epoch_is_on_disk_before_anything_is_appended() {
    let disk = SimDisk::new(0);
    let epoch = open(&disk, &small()).1.epoch;
    assert_eq!(open(&disk.crash(2), &small()).1.epoch, epoch);
}

#[test]
fn no_answer_leaves_while_a_sync_is_held_and_all_leave_when_it_ends() {
    for fails in [false, true] {
        let disk = SimDisk::new(0);
        let log = settled(&disk, &small(), 100);
        let mut follower = log.follow(Some(log.status().durable_to)).unwrap();
        disk.hold_syncs();
        let mut first = Box::pin(log.append(frame(2, Some(2), 100)));
        disk.wait_for_held_sync();
        // Queued behind the held one; a repeat of what is not durable yet shares its fate.
        let mut later: Vec<_> =
            [frame(3, Some(3), 50), frame(4, Some(3), 50), frame(5, None, 50), frame(6, Some(2), 9)]
                .into_iter()
                .map(|frame| Box::pin(log.append(frame)))
                .collect();
        wait(async {
            for answer in [&mut first].into_iter().chain(&mut later) {
                let answered = std::future::poll_fn(|context| std::task::Poll::Ready(answer.as_mut().poll(context)));
                assert!(answered.await.is_pending(), "an answer left before the sync ended");
            }
        });
        assert_eq!(follower.read().unwrap(), None, "followers see only what is durable");
        disk.fail_syncs(fails);
        disk.release_syncs();
        let answers: Vec<_> = [first].into_iter().chain(later).map(wait).collect();
        if fails {
            assert!(answers.iter().all(|answer| matches!(answer, Err(AppendError::Failed { .. }))), "{answers:?}");
            assert!(matches!(log.status().state, LogState::Failed { .. }));
            disk.fail_syncs(false);
            assert!(matches!(append(&log, frame(7, None, 1)), Err(AppendError::Failed { .. })), "for good");
            assert_eq!(story(&log), ["1"], "reads go on");
        } else {
            let ids: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().receipt().id()).collect();
            assert_eq!(ids, [2, 3, 3, 5, 2]);
            assert!(matches!(answers[2], Ok(Appended::Repeat(_))) && matches!(answers[4], Ok(Appended::Repeat(_))));
            assert_eq!(story(&log), ["1", "2", "3", "5"]);
            assert!(wait(follower.changed()));
        }
    }
}

#[test]
fn a_dropped_append_is_appended_whole() {
    let disk = SimDisk::new(0);
    let log = settled(&disk, &small(), 100);
    disk.hold_syncs();
    drop(log.append(frame(2, Some(2), 100)));
    disk.wait_for_held_sync();
    let mut second = Box::pin(log.append(frame(3, None, 100)));
    wait(async {
        std::future::poll_fn(|context| {
            assert!(second.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    });
    drop(second);
    disk.release_syncs();
    repeat(&log, frame(4, Some(2), 100), 2);
    log.close();
    assert_eq!(story(&log), ["1", "2", "3"]);
}

#[test]
fn repeats_are_known_at_once_after_a_restart_and_after_their_segment_was_removed() {
    let disk = SimDisk::new(0);
    let options = small();
    let (log, _) = open(&disk, &options);
    new(&log, frame(1, Some(1), 100));
    repeat(&log, frame(2, Some(1), 100), 1);
    log.close();
    let (log, _) = open(&disk, &options);
    repeat(&log, frame(3, Some(1), 100), 1);
    for id in 10..30 {
        new(&log, frame(id, Some(id as u8), 3000));
    }
    log.retain(Needed { store: Some(log.status().durable_to), others: None });
    new(&log, frame(40, None, 10));
    log.close();
    assert!(log.status().first.offset > 0, "{:?}", log.status());
    assert!(!disk.names().contains(&"seg-0000000000000000.log".to_owned()));
    repeat_after_restart(&disk, &options);
    // A key file that vanished is made again from its segment.
    let (log, _) = open(&disk, &options);
    let kept = log.status().first;
    log.close();
    let mut removed = 0;
    for name in disk.names() {
        let from = name.strip_prefix("keys-").and_then(|rest| u64::from_str_radix(&rest[..16], 16).ok());
        if from.is_some_and(|from| from >= kept.offset) {
            disk.remove(&name).unwrap();
            removed += 1;
        }
    }
    let (log, recovered) = open(&disk, &options);
    assert_eq!(recovered.key_files_rebuilt, removed);
    log.close();
    repeat_after_restart(&disk, &options);
}

fn repeat_after_restart(disk: &SimDisk, options: &LogOptions) {
    let (log, _) = open(disk, options);
    repeat(&log, frame(50, Some(1), 100), 1);
    for id in 10..30 {
        repeat(&log, frame(id + 100, Some(id as u8), 10), id);
    }
    log.close();
}

#[test]
fn the_window_ends_and_the_number_of_keys_is_bounded() {
    let disk = SimDisk::new(0);
    let options = LogOptions { dedup_window: Duration::from_secs(100), dedup_keys_max: 10, ..small() };
    let (log, _) = open(&disk, &options);
    new(&log, frame(1, Some(1), 10));
    repeat(&log, frame(101, Some(1), 10), 1);
    new(&log, frame(102, Some(1), 10));
    repeat(&log, frame(103, Some(1), 10), 102);
    for id in 110..150 {
        new(&log, frame(id, Some(id as u8), 3000));
    }
    log.close();
    let keys = log.status().dedup_keys;
    assert!((1..=14).contains(&keys), "{keys} keys, of which the open segment has up to 4");
    let (log, _) = open(&disk, &options);
    repeat(&log, frame(200, Some(149), 10), 149);
    new(&log, frame(201, Some(110), 10));
}

#[test]
fn retention_keeps_what_is_needed_and_names_what_was_lost() {
    let disk = SimDisk::new(0);
    let options = LogOptions { keep_bytes: 60 << 10, ..small() };
    let (log, _) = open(&disk, &options);
    let mut slow = log.follow(None).unwrap();
    let positions: Vec<Position> = (1..=60).map(|id| new(&log, frame(id, None, 3000))).collect();
    // A store that has read nothing keeps everything, over the limits too.
    log.retain(Needed { store: Some(positions[0]), others: Some(log.status().durable_to) });
    new(&log, frame(61, None, 10));
    assert_eq!(log.status().first, positions[0]);
    // The store has read all; a connector that lags is kept up to keep_bytes.
    let store = Some(log.status().durable_to);
    log.retain(Needed { store, others: Some(positions[5]) });
    log.close();
    let status = log.status();
    assert!(status.first > positions[5] && status.bytes_on_disk <= 60 << 10, "{status:?}");
    let lost = slow.read().unwrap();
    assert_eq!(lost, Some(Followed::Lost { from: positions[0], to: status.first }));
    let Some(Followed::Frame { position, .. }) = slow.read().unwrap() else { panic!("the first kept frame follows") };
    assert_eq!(position, status.first);
    assert_eq!(log.find(1).unwrap(), None);
    assert!(disk.names().iter().filter(|name| name.starts_with("spare-")).count() <= 2, "{:?}", disk.names());
}

#[test]
fn recycled_files_serve_again_without_growing() {
    let disk = SimDisk::new(0);
    let (log, _) = open(&disk, &small());
    let mut used_most = 0;
    let mut follower = log.follow(None).unwrap();
    for id in 1..=200 {
        new(&log, frame(id, None, 3000));
        while follower.read().unwrap().is_some() {}
        log.retain(Needed { store: Some(follower.position()), others: None });
        used_most = used_most.max(disk.used());
    }
    assert!(used_most <= 6 * (16 << 10), "{used_most} bytes for segments of 16 KiB");
    log.close();
    // Earlier lives of the files stand behind the end, and nothing of them comes back.
    let after = story(&open(&disk.crash(4), &small()).0);
    assert_eq!(after.last().map(String::as_str), Some("200"));
    assert!(after.iter().all(|shown| shown != "damaged"), "{after:?}");
}

#[test]
fn a_full_disk_slows_down_and_recovers_by_itself() {
    let disk = SimDisk::new(0);
    let options = LogOptions { full_retry: Duration::from_millis(1), ..small() };
    let (log, _) = open(&disk, &options);
    let mut state = log.watch_state();
    new(&log, frame(1, Some(1), 100));
    disk.set_space(Some(disk.used()));
    let mut stored = vec!["1".to_owned()];
    let full = loop {
        let id = stored.len() as u128 + 1;
        match append(&log, frame(id, None, 3000)) {
            Ok(_) => stored.push(id.to_string()),
            Err(error) => break error,
        }
        assert!(stored.len() < 100, "the space never ends");
    };
    assert_eq!(full, AppendError::Full);
    assert!(matches!(*state.borrow_and_update(), LogState::Full { .. }));
    repeat(&log, frame(90, Some(1), 100), 1);
    assert_eq!(story(&log), stored);
    disk.set_space(None);
    wait(async {
        while *state.borrow_and_update() != LogState::Writing {
            state.changed().await.unwrap();
        }
    });
    new(&log, frame(91, None, 3000));
    stored.push("91".to_owned());
    log.close();
    let (log, _) = open(&disk.crash(4), &options);
    assert_eq!(story(&log), stored);
}

/// Where the file system needs space to overwrite, a write into the open segment can meet a full disk half-way.
#[test]
fn frames_of_a_write_that_met_a_full_disk_do_not_come_alive() {
    // The seed chooses how much of the write is done before it fails.
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let options = LogOptions { full_retry: Duration::from_millis(1), ..small() };
        let log = settled(&disk, &options, 100);
        disk.hold_syncs();
        let first = log.append(frame(2, None, 100));
        disk.wait_for_held_sync();
        let refused: Vec<_> = (3..20).map(|id| log.append(frame(id, None, 100))).collect();
        disk.fail_step(disk.steps() + 1, ErrorKind::StorageFull);
        disk.release_syncs();
        wait(first).unwrap();
        for answer in refused {
            assert_eq!(wait(answer), Err(AppendError::Full));
        }
        let mut state = log.watch_state();
        wait(async {
            while *state.borrow_and_update() != LogState::Writing {
                state.changed().await.unwrap();
            }
        });
        // As long as the first refused one.
        new(&log, frame(30, None, 100));
        log.close();
        assert_eq!(story(&log), ["1", "2", "30"]);
        assert_eq!(story(&open(&disk.crash(4), &options).0), ["1", "2", "30"]);
    }
}

#[test]
fn a_torn_tail_is_cut_and_stays_cut() {
    // Three frames were written with one call and the first sector of it was lost: the second and third are whole, but
    // nobody was told so.
    let disk = SimDisk::new(0);
    let log = settled(&disk, &small(), 1000);
    disk.hold_syncs();
    let held = log.append(frame(2, None, 1000));
    disk.wait_for_held_sync();
    let later: Vec<_> = (3..6).map(|id| log.append(frame(id, None, 1000))).collect();
    disk.release_syncs();
    wait(held).unwrap();
    for answer in later {
        wait(answer).unwrap();
    }
    log.close();
    let third = Position { offset: 2 * 1080, ..log.status().first };
    let tail_at = 8192 + third.offset as usize;
    disk.damage("seg-0000000000000000.log", tail_at, &[1]);
    let report = verify(&disk, &mut |_, _| ()).unwrap();
    assert_eq!((report.frames, report.torn_bytes, report.is_whole()), (2, 3 * 1080, true));
    let (log, recovered) = open(&disk, &small());
    assert_eq!((recovered.end, recovered.cut_bytes, recovered.damaged), (third, 3 * 1080, vec![]));
    // A frame as long as the lost one: what stood behind it must not follow it.
    new(&log, frame(7, None, 1000));
    assert_eq!(story(&log), ["1", "2", "7"]);
    log.close();
    assert_eq!(story(&open(&disk.crash(4), &small()).0), ["1", "2", "7"]);
}

#[test]
fn damage_below_what_was_durable_is_named_and_skipped() {
    // Ten frames of 1080 bytes, one at a time; each says that those before it are durable. (what, where, story)
    let whole = |bad: &[u32]| -> Vec<String> {
        let mut shown: Vec<String> = Vec::new();
        for id in 1..=10u32 {
            let word = if bad.contains(&id) { "damaged".to_owned() } else { id.to_string() };
            if word != "damaged" || shown.last() != Some(&word) {
                shown.push(word);
            }
        }
        shown
    };
    let cases: [(&str, usize, usize, &[u32]); 6] = [
        ("a head", 3 * 1080, 1, &[4]),
        ("a payload", 3 * 1080 + 500, 1, &[4]),
        ("the end of one and the head of the next", 4 * 1080 - 20, 40, &[4, 5]),
        ("a whole page", 4096, 4096, &[4, 5, 6, 7, 8]),
        ("the first", 0, 8, &[1]),
        ("the last but one", 8 * 1080, 8, &[9]),
    ];
    for (what, place, len, bad) in cases {
        let disk = SimDisk::new(0);
        let options = LogOptions { segment_bytes: 32 << 10, ..small() };
        let (log, _) = open(&disk, &options);
        for id in 1..=10 {
            new(&log, frame(id, Some(id as u8), 1000));
        }
        disk.damage("seg-0000000000000000.log", 8192 + place, &vec![0xFF; len]);
        let told = |log: &Log| {
            let mut told = story(log);
            told.dedup();
            told
        };
        assert_eq!(told(&log), whole(bad), "{what}, while it runs");
        log.close();
        let (log, recovered) = open(&disk, &options);
        assert_eq!(told(&log), whole(bad), "{what}, after a restart");
        let ranges: Vec<_> = read_all(&log)
            .into_iter()
            .filter_map(|followed| match followed {
                Followed::Damaged { from, to } => Some((from, to)),
                _ => None,
            })
            .collect();
        let joined = |ranges: &[(Position, Position)]| (ranges[0].0, ranges[ranges.len() - 1].1);
        assert_eq!(joined(&recovered.damaged), joined(&ranges), "{what}");
        let report = verify(&disk, &mut |_, _| ()).unwrap();
        assert_eq!(joined(&report.damaged), joined(&ranges), "{what}");
        assert_eq!(report.frames, 10 - bad.len() as u64, "{what}");
        new(&log, frame(11, None, 10));
        log.close();
        assert_eq!(story(&open(&disk.crash(4), &options).0).last().unwrap(), "11", "{what}");
    }
}

#[test]
fn an_unreadable_segment_is_set_aside_and_its_range_named() {
    for which in 0..3 {
        let disk = SimDisk::new(0);
        let (log, _) = open(&disk, &small());
        let mut id = 0;
        while log.status().segments < 3 {
            id += 1;
            new(&log, frame(id, None, 3000));
        }
        log.close();
        let segments: Vec<String> = disk.names().into_iter().filter(|name| name.starts_with("seg-")).collect();
        for copy in [0, 4096] {
            disk.damage(&segments[which], copy, &[0xFF; 64]);
        }
        assert_eq!(verify(&disk, &mut |_, _| ()).unwrap().unreadable, [segments[which].clone()]);
        for life in 0..2 {
            let (log, recovered) = open(&disk, &small());
            assert_eq!(recovered.damaged.len(), usize::from(life == 0), "segment {which}, life {life}");
            let told = story(&log);
            let damaged = told.iter().filter(|shown| *shown == "damaged").count();
            // What stood before everything that is kept is not missed.
            assert_eq!(damaged, usize::from(which > 0), "segment {which}, life {life}: {told:?}");
            id += 1;
            let position = new(&log, frame(id, None, 10));
            assert!(position >= recovered.end);
            assert_eq!(*story(&log).last().unwrap(), id.to_string());
            log.close();
        }
    }
}

#[test]
fn files_of_a_newer_penstock_and_of_another_log_are_refused_by_name() {
    let disk = SimDisk::new(0);
    open(&disk, &small()).0.close();
    let segment = disk.contents("seg-0000000000000000.log").unwrap();
    let newer = SimDisk::new(0);
    newer.put("seg-0000000000000000.log", &segment);
    for copy in [0, 4096] {
        newer.damage("seg-0000000000000000.log", copy + 16, &[1 ^ 9]);
    }
    match Log::open(Arc::new(newer), small(), at(0)) {
        Err(error @ LogError::NewerFormat { found: 9, supported: 1, .. }) => {
            assert!(error.to_string().contains("newer"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let mixed = SimDisk::new(0);
    let (log, _) = open(&mixed, &small());
    for id in 1..10 {
        new(&log, frame(id, None, 3000));
    }
    log.close();
    mixed.put("seg-0000000000000000.log", &segment);
    assert!(matches!(Log::open(Arc::new(mixed), small(), at(0)), Err(LogError::MixedLogs { .. })));
}

#[test]
fn sizes_have_a_limit_and_a_frame_may_be_larger_than_a_segment() {
    let (log, _) = open(&SimDisk::new(0), &small());
    new(&log, frame(1, None, 200_000));
    new(&log, frame(2, None, 10));
    let large = Bytes::from(vec![0; limits::FRAME_BYTES_MAX + 1]);
    let too_large = AppendError::TooLarge { bytes: large.len(), max: limits::FRAME_BYTES_MAX };
    assert_eq!(append(&log, NewFrame { payload: large, ..frame(3, None, 0) }), Err(too_large));
    assert_eq!(story(&log), ["1", "2"]);
}

#[test]
fn a_weaker_sync_is_synced_in_time_and_at_the_close() {
    let disk = SimDisk::new(0);
    let options = LogOptions { sync: Sync::Interval(Duration::from_millis(1)), ..small() };
    let (log, _) = open(&disk, &options);
    let mut follower = log.follow(None).unwrap();
    new(&log, frame(1, None, 10));
    assert!(wait(follower.changed()));
    assert!(matches!(follower.read(), Ok(Some(Followed::Frame { id: 1, .. }))));
    log.close();
    let options = LogOptions { sync: Sync::Interval(Duration::from_secs(3600)), ..small() };
    let (log, _) = open(&disk, &options);
    new(&log, frame(2, None, 10));
    log.close();
    assert_eq!(story(&open(&disk.crash(4), &options).0), ["1", "2"]);
}

#[test]
fn a_follower_says_how_long_the_next_frame_is() {
    let (log, _) = open(&SimDisk::new(1), &LogOptions { segment_bytes: 32 << 10, ..small() });
    for (id, bytes) in [(1, 0), (2, 4_000), (3, 100_000), (4, 5)] {
        new(&log, frame(id, None, bytes));
    }
    let mut follower = log.follow(None).unwrap();
    for _ in 0..4 {
        let told = follower.next_bytes();
        let Some(Followed::Frame { position, next, .. }) = follower.read().unwrap() else { panic!("four frames") };
        assert_eq!(told, Some(next.offset - position.offset));
    }
    assert_eq!(follower.next_bytes(), None);
}

#[test]
fn a_follower_waits_for_more_and_learns_of_the_end() {
    let (log, _) = open(&SimDisk::new(0), &LogOptions { one_thread: false, ..small() });
    let mut follower = log.follow(None).unwrap();
    wait(async {
        let reader = tokio::spawn(async move {
            let mut ids = Vec::new();
            while follower.changed().await {
                while let Some(Followed::Frame { id, .. }) = follower.read().unwrap() {
                    ids.push(id);
                }
            }
            ids
        });
        for id in 1..=20 {
            log.append(frame(id, None, 2000)).await.unwrap();
            tokio::task::yield_now().await;
        }
        log.close();
        assert_eq!(reader.await.unwrap(), (1..=20).collect::<Vec<u128>>());
    });
}

#[test]
fn the_fuzz_target_takes_anything() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let disk = SimDisk::new(0);
    let (log, _) = open(&disk, &small());
    new(&log, frame(1, Some(1), 100));
    log.close();
    let mut seed = vec![0];
    seed.extend(disk.contents("seg-0000000000000000.log").unwrap());
    fuzz_log_recovery(&[]);
    fuzz_log_recovery(&seed);
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..400 {
        let mut data = if round % 2 == 0 { seed.clone() } else { vec![1] };
        if round % 2 == 1 {
            data.extend((0..random.random_range(0..24)).map(|_| random.random::<u8>()));
        }
        for _ in 0..random.random_range(0..4) {
            let place = random.random_range(1..data.len() + 1);
            if let Some(byte) = data.get_mut(place) {
                *byte = random.random();
            }
        }
        data.truncate(random.random_range(1..data.len() + 1));
        fuzz_log_recovery(&data);
    }
}

/// The group that was lost in part stands behind damage: what was durable is damage, the rest is a tail.
#[test]
fn a_torn_tail_behind_damage_is_cut_too() {
    // Frames of 1080 bytes: 1 and 2 alone, 3 to 5 with one write. (bad heads, recovered damage, what is read)
    let cases: [(&[u64], &[(u64, u64)], &[&str]); 3] = [
        (&[2], &[], &["1", "2", "7"]),
        (&[1, 2], &[(1, 2)], &["1", "damaged", "7"]),
        (&[0, 1, 2, 3], &[(0, 2)], &["damaged", "7"]),
    ];
    for (bad, damaged, shown) in cases {
        let disk = SimDisk::new(0);
        let log = settled(&disk, &small(), 1000);
        disk.hold_syncs();
        let held = log.append(frame(2, None, 1000));
        disk.wait_for_held_sync();
        let later: Vec<_> = (3..6).map(|id| log.append(frame(id, None, 1000))).collect();
        disk.release_syncs();
        wait(held).unwrap();
        for answer in later {
            wait(answer).unwrap();
        }
        log.close();
        let position = |frames: u64| Position { offset: frames * 1080, ..log.status().first };
        for place in bad {
            disk.damage("seg-0000000000000000.log", 8192 + position(*place).offset as usize, &[1]);
        }
        let (log, recovered) = open(&disk, &small());
        let expected: Vec<_> = damaged.iter().map(|(from, to)| (position(*from), position(*to))).collect();
        assert_eq!(
            (recovered.end, recovered.cut_bytes, recovered.damaged),
            (position(2), 3 * 1080, expected),
            "{bad:?}"
        );
        new(&log, frame(7, None, 1000));
        log.close();
        assert_eq!(story(&open(&disk.crash(4), &small()).0), shown, "{bad:?}");
    }
}

/// A sender may have seen a whole segment: what it learned of one must not help it to make frames for another.
#[test]
fn every_life_of_a_file_has_a_salt_of_its_own() {
    let disk = SimDisk::new(0);
    let (log, _) = open(&disk, &small());
    let (mut names, mut salts) = (BTreeSet::new(), BTreeSet::new());
    for id in 1..=40 {
        new(&log, frame(id, None, 3000));
        log.retain(Needed { store: Some(log.status().durable_to), others: None });
        for name in disk.names().into_iter().filter(|name| name.starts_with("seg-")) {
            // `None` where the file became a spare meanwhile.
            if let Some(bytes) = disk.contents(&name) {
                salts.insert(bytes[32..48].to_vec());
                names.insert(name);
            }
        }
    }
    assert!(names.len() > 10, "{names:?}");
    assert_eq!(salts.len(), names.len());
}

/// What was written may be lost although the cache shows it, whatever file it was: nothing is written any more.
#[test]
fn a_failed_write_or_sync_of_any_file_ends_writing() {
    // The second frame has room in the segment or begins the next one. (what, sync, its bytes, the step that fails)
    let interval = Sync::Interval(Duration::from_secs(3600));
    let cases = [
        ("the frames' write", Sync::Always, 100, 1),
        ("the frames' sync", Sync::Always, 100, 2),
        ("the frames' late sync, before the next segment", interval, 8000, 1),
        ("a header's write", Sync::Always, 8000, 1),
        ("a header's sync", Sync::Always, 8000, 2),
        ("a segment's name", Sync::Always, 8000, 3),
        ("the directory's sync", Sync::Always, 8000, 4),
    ];
    for (what, sync, bytes, step) in cases {
        let disk = SimDisk::new(0);
        let log = settled(&disk, &LogOptions { sync, ..small() }, 1000);
        let before = story(&log);
        disk.fail_step(disk.steps() + step, ErrorKind::Other);
        assert!(matches!(append(&log, frame(2, None, bytes)), Err(AppendError::Failed { .. })), "{what}");
        assert!(matches!(append(&log, frame(3, None, 10)), Err(AppendError::Failed { .. })), "{what}: for good");
        log.close();
        assert!(matches!(log.status().state, LogState::Failed { .. }), "{what}");
        assert_eq!(story(&log), before, "{what}: reads go on");
    }
}

/// Whatever step of it meets the full disk, the keys of a sealed segment are known for as long as the window says.
#[test]
fn a_segment_stays_until_its_keys_are_in_a_file() {
    // Nothing is tried again in the life that met the full disk.
    let options = LogOptions { full_retry: Duration::from_secs(3600), ..small() };
    let mut without_file = 0;
    for step in 1..=20 {
        let disk = SimDisk::new(step);
        let log = settled(&disk, &options, 1000);
        disk.fail_step(disk.steps() + step, ErrorKind::StorageFull);
        // Begins the second segment, so that the first is sealed. A repeat is answered after the chores.
        let _full = append(&log, frame(2, None, 8000));
        let _chores_done = append(&log, frame(3, Some(1), 10));
        log.retain(Needed { store: Some(log.status().durable_to), others: None });
        for id in 4..6 {
            let _chores_done = append(&log, frame(id, Some(1), 10));
        }
        let names = disk.names();
        let has = |prefix: &str| names.iter().any(|name| name.starts_with(prefix) && !name.ends_with(".tmp"));
        if !has("keys-") {
            without_file += 1;
            assert!(names.contains(&"seg-0000000000000000.log".to_owned()), "step {step}: {names:?}");
        }
        let (log, _) = open(&disk.crash(step), &options);
        repeat(&log, frame(6, Some(1), 10), 1);
    }
    assert!(without_file > 3, "{without_file} steps left no key file");
}

/// A write fills its last page with zeros, which would hide what stands behind it. Frames of whole pages leave nothing
/// to fill: only the new segment keeps the refused ones from following the next frame.
#[test]
fn refused_frames_of_whole_pages_do_not_come_alive() {
    let page = 4096 - 80;
    let options = LogOptions { segment_bytes: 64 << 10, full_retry: Duration::from_millis(1), ..small() };
    for torn in [false, true] {
        for seed in 0..10 {
            let disk = SimDisk::new(seed);
            let log = settled(&disk, &options, page);
            disk.hold_syncs();
            let first = log.append(frame(2, None, page));
            disk.wait_for_held_sync();
            let group: Vec<_> = (3..8).map(|id| log.append(frame(id, None, page))).collect();
            if !torn {
                disk.fail_step(disk.steps() + 1, ErrorKind::StorageFull);
            }
            disk.release_syncs();
            wait(first).unwrap();
            for answer in group {
                assert_eq!(wait(answer).err(), (!torn).then_some(AppendError::Full));
            }
            let log = if torn {
                log.close();
                disk.damage("seg-0000000000000000.log", 8192 + 2 * 4096, &[1]);
                open(&disk, &options).0
            } else {
                let mut state = log.watch_state();
                wait(async {
                    while *state.borrow_and_update() != LogState::Writing {
                        state.changed().await.unwrap();
                    }
                });
                log
            };
            new(&log, frame(30, None, page));
            log.close();
            assert_eq!(story(&open(&disk.crash(4), &options).0), ["1", "2", "30"], "torn: {torn}, seed {seed}");
        }
    }
}

#[test]
fn a_cursor_of_another_log_lets_nothing_go() {
    for foreign in [true, false] {
        let disk = SimDisk::new(0);
        let (log, _) = open(&disk, &small());
        for id in 1..10 {
            new(&log, frame(id, None, 3000));
        }
        let end = log.status().durable_to;
        let cursor = Position { epoch: end.epoch ^ u64::from(foreign), ..end };
        for needed in [(Some(cursor), None), (None, Some(cursor)), (Some(end), Some(cursor))] {
            log.retain(Needed { store: needed.0, others: needed.1 });
            new(&log, frame(end.offset.into(), None, 10));
            new(&log, frame(end.offset.into(), None, 10));
            assert_eq!(log.status().first.offset == 0, foreign, "{needed:?}");
        }
    }
}

#[test]
fn keys_are_made_again_to_the_end_of_their_window() {
    let options = LogOptions { dedup_window: Duration::from_secs(1000), ..small() };
    // (seconds after the newest frame of the sealed segment, whether its keys still count)
    for (secs, counts) in [(-2000, true), (0, true), (501, true), (1000, true), (1001, false)] {
        let disk = SimDisk::new(0);
        let log = settled(&disk, &options, 1000);
        new(&log, frame(2, None, 8000));
        log.close();
        for name in disk.names().into_iter().filter(|name| name.starts_with("keys-")) {
            disk.remove(&name).unwrap();
        }
        let now = at(1 + secs);
        let (log, recovered) = Log::open(Arc::new(disk), options.clone(), now).unwrap();
        assert_eq!(recovered.key_files_rebuilt, usize::from(counts), "{secs} s after");
        let again = append(&log, NewFrame { at: now, ..frame(3, Some(1), 10) }).unwrap();
        assert_eq!(matches!(again, Appended::Repeat(_)), counts, "{secs} s after: {again:?}");
    }
}
