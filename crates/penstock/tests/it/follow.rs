//! `log ingest --follow` on files that grow, rotate, vanish, while the follower is killed and the server is away: every
//! line is stored once.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli_log::Desk;
use crate::server::{TestServer, until};

/// A follower; killed when dropped.
struct Following {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
}

impl Following {
    fn start(desk: &Desk, args: &[&str]) -> Following {
        let shared = ["log", "ingest", "--follow", "--type", "OKTA", "-o", "ndjson"];
        let mut command = desk.command(&[&shared, args].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Following { child, out: BufReader::new(out), err: BufReader::new(err) }
    }

    /// kill -9.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop; gives what it said last, and its complaints.
    fn stop(mut self, signal: libc::c_int) -> (Value, String) {
        // SAFETY: the process is our child and has not been waited for, so its number is still its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }, 0);
        let last = self.out.by_ref().lines().last().unwrap().unwrap();
        let mut complaints = String::new();
        self.err.read_to_string(&mut complaints).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status} {complaints}");
        (serde_json::from_str(&last).unwrap(), complaints)
    }

    /// Asks it to stop at whatever it is doing, be it only beginning, and waits until it has.
    fn end(mut self) {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) }, 0);
        self.child.wait().unwrap();
    }

    /// Its next complaint.
    fn complaint(&mut self) -> String {
        let mut line = String::new();
        self.err.read_line(&mut line).unwrap();
        line
    }

    /// What it tells of the next batch.
    fn told(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that writes a log, and whoever rotates it.
struct Writer {
    path: PathBuf,
    file: File,
    /// Lines so far.
    lines: usize,
}

impl Writer {
    fn new(desk: &Desk) -> Writer {
        let path = desk.home.path("app.log");
        let file = Writer::open(&path);
        Writer { path, file, lines: 0 }
    }

    fn open(path: &PathBuf) -> File {
        OpenOptions::new().create(true).append(true).open(path).unwrap()
    }

    fn write(&mut self, lines: usize) {
        let text: String = (self.lines..self.lines + lines).map(|number| format!("{}\n", line(number))).collect();
        self.file.write_all(text.as_bytes()).unwrap();
        self.lines += lines;
    }

    fn rotated(&self, number: usize) -> PathBuf {
        self.path.with_extension(format!("log.{number}"))
    }

    /// `app.log.1` becomes `app.log.2`, and so on.
    fn make_room(&self) {
        Writer::let_the_clock_tick();
        for number in (1..20).rev().filter(|number| self.rotated(*number).exists()) {
            std::fs::rename(self.rotated(number), self.rotated(number + 1)).unwrap();
        }
    }

    /// File times are coarse: what comes later must have a later one, as it has where files rotate once a day.
    fn let_the_clock_tick() {
        std::thread::sleep(Duration::from_millis(20));
    }

    /// Renames the file and makes a new one.
    fn rename(&mut self) {
        self.make_room();
        std::fs::rename(&self.path, self.rotated(1)).unwrap();
        self.file = Writer::open(&self.path);
        Writer::let_the_clock_tick();
    }

    /// Copies the file and truncates it.
    fn copy_and_truncate(&mut self) {
        self.make_room();
        std::fs::copy(&self.path, self.rotated(1)).unwrap();
        self.file.set_len(0).unwrap();
        Writer::let_the_clock_tick();
    }

    /// Waits until all lines are stored; then they are there once each.
    async fn arrived(&self, desk: &Desk) {
        let mut there = Vec::new();
        let begun = Instant::now();
        while there.len() < self.lines && begun.elapsed() < Duration::from_secs(30) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            there = desk.logs("OKTA").await;
        }
        let expected: Vec<Vec<u8>> = (0..self.lines).map(|number| line(number).into_bytes()).collect();
        let texts = |lines: &mut dyn Iterator<Item = &Vec<u8>>| {
            lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>()
        };
        let doubled = texts(&mut there.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]));
        let lost = texts(&mut expected.iter().filter(|line| there.binary_search(line).is_err()));
        assert!(doubled.is_empty() && lost.is_empty(), "doubled: {doubled:?}, lost: {lost:?}");
        assert_eq!(there.len(), expected.len());
    }
}

fn line(number: usize) -> String {
    format!("line {number:06}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_is_sent_line_by_line_and_the_place_is_kept() {
    let desk = Desk::new().await;
    desk.write("app.log", "one\n\r\ntwo\r\nbeg");
    let path = desk.home.path("app.log");
    let append = |text: &[u8]| OpenOptions::new().append(true).open(&path).unwrap().write_all(text).unwrap();
    let mut following = Following::start(&desk, &["app.log", "--labels", "site=zurich"]);
    let told = following.told();
    let (from, to) = (&told["from"], &told["to"]);
    assert_eq!((from, to, &told["records"], &told["repeat"]), (&json!(0), &json!(11), &json!(2), &json!(false)));
    // The line that had no end yet is one line once it has; its bytes need not be text.
    append(b"un\n\xff\xfe\n");
    assert_eq!(following.told()["to"], 20);
    let (last, complaints) = following.stop(libc::SIGTERM);
    let file = &last["files"][0];
    assert_eq!((&last["done"], &file["offset"], &file["records"]), (&json!(true), &json!(20), &json!(4)), "{last}");
    assert_eq!((&file["empty_lines"], complaints.as_str()), (&json!(1), ""));
    assert_eq!(desk.logs("OKTA").await, [&b"begun"[..], b"one", b"two", b"\xff\xfe"]);
    assert_eq!(desk.server.search("raw", "begun").await[0]["labels"][0]["value"], "zurich");

    // It goes on where it was, whatever came meanwhile; SIGINT stops it as well.
    append(b"meanwhile\n");
    let mut following = Following::start(&desk, &["app.log"]);
    assert_eq!(following.told()["from"], 20);
    let (last, _) = following.stop(libc::SIGINT);
    assert_eq!(last["files"][0]["records"], 1);
    assert_eq!(desk.logs("OKTA").await.len(), 5);
    // Its file and folder are nobody else's business.
    use std::os::unix::fs::PermissionsExt as _;
    let states = desk.home.path("state/penstock/follow");
    assert_eq!(std::fs::metadata(&states).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_and_one_that_is_not_there_yet() {
    let desk = Desk::new().await;
    desk.write("a.log", "a1\n");
    let mut following = Following::start(&desk, &["a.log", "later/b.log"]);
    // Looked for before it is written.
    let complaint = following.complaint();
    assert!(complaint.contains("later/b.log is not there yet; waiting for it"), "{complaint}");
    until("the first file is there", async || desk.logs("OKTA").await.len() == 1).await;
    desk.write("later/b.log", "b1\nb2\n");
    until("the second file is there", async || desk.logs("OKTA").await.len() == 3).await;
    let (last, _) = following.stop(libc::SIGTERM);
    assert_eq!(last["files"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn beginning_at_the_end_is_for_files_that_are_not_known_yet() {
    let desk = Desk::new().await;
    let mut writer = Writer::new(&desk);
    desk.write("app.log", "old\nold too\n");
    let args = ["app.log", "--from-end", "--state", "place.json"];
    let following = Following::start(&desk, &args);
    until("the place is kept", async || desk.home.path("place.json").exists()).await;
    writer.write(3);
    writer.arrived(&desk).await;
    following.kill();
    writer.write(3);
    let following = Following::start(&desk, &args);
    writer.arrived(&desk).await;
    following.kill();
    let place: Value = serde_json::from_slice(&std::fs::read(desk.home.path("place.json")).unwrap()).unwrap();
    assert!(place["offset"].as_u64().unwrap() > 12, "{place}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_of_either_kind_is_followed() {
    let desk = Desk::new().await;
    let mut writer = Writer::new(&desk);
    let following = Following::start(&desk, &["app.log", "--rotate-wait", "0"]);
    // What was rotated before the first look is not the follower's.
    writer.write(1);
    writer.arrived(&desk).await;
    for round in 0..6 {
        writer.write(50);
        if round % 3 == 1 {
            // Rotated while some of it was not read yet.
            writer.arrived(&desk).await;
            writer.write(7);
        }
        if round % 2 == 0 {
            writer.rename()
        } else {
            writer.copy_and_truncate()
        }
        writer.write(3);
        writer.arrived(&desk).await;
    }
    let (last, complaints) = following.stop(libc::SIGTERM);
    assert_eq!((&last["files"][0]["records"], complaints.as_str()), (&json!(writer.lines), ""), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_file_is_read_until_its_writer_lets_go_of_it() {
    let desk = Desk::new().await;
    let mut writer = Writer::new(&desk);
    let following = Following::start(&desk, &["app.log", "--rotate-wait", "1"]);
    writer.write(5);
    writer.arrived(&desk).await;
    // Renamed, but the writer was not told yet.
    std::fs::rename(&writer.path, writer.rotated(1)).unwrap();
    let new = Writer::open(&writer.path);
    writer.write(5);
    writer.arrived(&desk).await;
    // Its last words have no line end.
    write!(writer.file, "{}", line(writer.lines)).unwrap();
    writer.file = new;
    writer.lines += 1;
    writer.write(5);
    writer.arrived(&desk).await;
    following.stop(libc::SIGTERM);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rotated_while_nobody_followed_is_found() {
    let desk = Desk::new().await;
    let mut writer = Writer::new(&desk);
    let args = ["app.log", "--rotate-wait", "0"];
    writer.write(10);
    let following = Following::start(&desk, &args);
    writer.arrived(&desk).await;
    following.kill();
    // Twice over: the rest of the file that was followed, one that it never saw, and the one that is there now.
    let rotate: [fn(&mut Writer); 2] = [Writer::rename, Writer::copy_and_truncate];
    for rotations in [[rotate[0]; 2], [rotate[1]; 2], rotate] {
        for rotate in rotations {
            writer.write(10);
            rotate(&mut writer);
        }
        writer.write(10);
        // Not one of them, by its name.
        desk.write("app.log.bak", "never sent\n");
        let following = Following::start(&desk, &args);
        writer.arrived(&desk).await;
        let (_, complaints) = following.stop(libc::SIGTERM);
        assert_eq!(complaints, "");
    }
    // A file that is gone is named as missing, and what is there goes on.
    writer.rename();
    std::fs::remove_file(writer.rotated(1)).unwrap();
    writer.write(10);
    let following = Following::start(&desk, &args);
    writer.arrived(&desk).await;
    let (_, complaints) = following.stop(libc::SIGTERM);
    assert!(complaints.contains("is not found any more") && complaints.contains("is missing"), "{complaints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_waited_for_while_the_file_rotates() {
    let mut desk = Desk::new().await;
    let mut writer = Writer::new(&desk);
    let following = Following::start(&desk, &["app.log", "--rotate-wait", "0"]);
    writer.write(20);
    writer.arrived(&desk).await;
    let Desk { server, home } = desk;
    let (config, dir) = (server.config.clone(), server.stop().await);
    writer.write(20);
    // Each new file is noticed before the next comes: the follower looks while it waits.
    let pid = following.child.id();
    for rotations in 1..4 {
        writer.rename();
        writer.write(20);
        until("the new file is held", async || held(pid, "app.log") > rotations).await;
    }
    // Whoever cleans up is no danger to what is held.
    (1..4).for_each(|number| std::fs::remove_file(writer.rotated(number)).unwrap());
    desk = Desk { server: TestServer::start_in(dir, config).await, home };
    writer.arrived(&desk).await;
    let (_, complaints) = following.stop(libc::SIGTERM);
    assert!(complaints.contains("waiting for it") && complaints.contains("takes records again"), "{complaints}");

    // And one that is away when the follower starts.
    let Desk { server, home } = desk;
    let (config, dir) = (server.config.clone(), server.stop().await);
    let token = std::fs::read_to_string(config.data.join("keys/operator.token")).unwrap();
    let mut command = home.command(&["log", "ingest", "--follow", "--type", "OKTA", "app.log", "-o", "ndjson"]);
    command.env("PENSTOCK_SERVER", format!("http://{}", config.listen.address)).env("PENSTOCK_TOKEN", token.trim());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = err.next().unwrap().unwrap();
    assert!(said.contains("no server answers") && said.ends_with("waiting for it"), "{said}");
    writer.write(5);
    desk = Desk { server: TestServer::start_in(dir, config).await, home };
    writer.arrived(&desk).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

/// How many open files of a process have this in their name.
fn held(pid: u32, name: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let links = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().contains(name)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_whatever_ends_when() {
    tokio::join!(story(5), story(16), story(24));
}

/// A minute in the life of a log: written, rotated either way, its follower killed and stopped, the server restarted, often
/// several of these before anybody had the time to look. The seed decides what happens when.
async fn story(mut seed: u64) {
    let mut desk = Desk::new().await;
    let mut writer = Writer::new(&desk);
    let args = ["app.log", "--rotate-wait", "0"];
    let mut following = Some(Following::start(&desk, &args));
    // What stood under the path before the first look is not the follower's.
    writer.write(10);
    writer.arrived(&desk).await;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for step in 0..60 {
        match next(10) {
            0..4 => writer.write(1 + next(400) as usize),
            4 => writer.rename(),
            5 => writer.copy_and_truncate(),
            6 | 7 => {
                // Killed at once after something was written: before it was read, while it is sent, after it was taken.
                writer.write(1 + next(400) as usize);
                std::thread::sleep(Duration::from_millis(next(300)));
                following.take().unwrap().kill();
                if next(2) == 0 {
                    writer.write(1 + next(50) as usize);
                    writer.rename();
                }
                following = Some(Following::start(&desk, &args));
            }
            8 => {
                following.take().unwrap().end();
                following = Some(Following::start(&desk, &args));
            }
            _ => {
                let Desk { server, home } = desk;
                let (config, dir) = (server.config.clone(), server.stop().await);
                writer.write(1 + next(100) as usize);
                desk = Desk { server: TestServer::start_in(dir, config).await, home };
            }
        }
        if step % 6 == 5 {
            writer.arrived(&desk).await;
        }
    }
    writer.arrived(&desk).await;
    following.unwrap().stop(libc::SIGTERM);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_was_lost_is_sent_again_as_it_was() {
    let desk = Desk::new().await;
    desk.write("app.log", "one\ntwo\n");
    // The place as a kill leaves it between the server's sync and its answer: written down, sent, not crossed out. It is made
    // of one that was crossed out, which is so once the follower tells of the batch.
    let mut following = Following::start(&desk, &["app.log", "--state", "place.json"]);
    assert_eq!(following.told()["records"], 2);
    following.kill();
    let path = desk.home.path("place.json");
    let mut place: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let time = place["time"].take();
    place["pending"] = json!({"to": 8, "time": time, "hash": blake3::hash(b"one\ntwo\n").to_hex()[..32].to_owned()});
    place["offset"] = json!(0);
    std::fs::write(&path, place.to_string()).unwrap();
    // More has come meanwhile; what goes out first is what went out then, and no more.
    OpenOptions::new().append(true).open(desk.home.path("app.log")).unwrap().write_all(b"three\n").unwrap();
    let mut following = Following::start(&desk, &["app.log", "--state", "place.json"]);
    let told = following.told();
    assert_eq!((&told["to"], &told["records"], &told["repeat"]), (&json!(8), &json!(2), &json!(true)), "{told}");
    assert_eq!(following.told()["records"], 1);
    let (last, _) = following.stop(libc::SIGTERM);
    assert_eq!(last["files"][0]["repeated"], 2);
    assert_eq!(desk.logs("OKTA").await, [&b"one"[..], b"three", b"two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_is_said() {
    let desk = Desk::new().await;
    desk.write("a.log", "a\n");
    desk.write("b.log", "b\n");
    let follow = |args: &[&str]| desk.run(&[&["log", "ingest", "--follow", "--type", "OKTA"], args].concat());
    follow(&[]).fails(2, &["name one"]);
    follow(&["-"]).fails(2, &["standard input"]);
    follow(&["."]).fails(2, &["--follow takes files"]);
    follow(&["a.log", "b.log", "--state", "s.json"]).fails(2, &["--state"]);
    follow(&["a.log", "--spool", "s"]).fails(2, &["--spool"]);
    follow(&["a.log", "--entry-timestamp", "2023-01-01T12:00:00Z"]).fails(2, &["--entry-timestamp"]);
    follow(&["a.log", "--token", "wrong", "--customer-id", &desk.server.instance.to_string()]).fails(1, &["--token"]);
    desk.run(&["log", "ingest", "--follow", "--type", "OKTAA", "a.log"]).fails(1, &["nearest: OKTA"]);
    desk.run(&["log", "ingest", "--state", "s", "--type", "OKTA", "a.log"]).fails(2, &["--follow"]);

    // One follower for one place, and one receiver.
    let following = Following::start(&desk, &["a.log", "--state", "s.json"]);
    until("it follows", async || desk.logs("OKTA").await.len() == 1).await;
    let done = follow(&["a.log", "--state", "s.json"]);
    assert!(done.status == 1 && done.err.contains("another process follows a.log already"), "{}", done.err);
    following.kill();
    let other = desk.run(&["instance", "create", "--name", "other", "-o", "json"]).json();
    let done = follow(&["a.log", "--state", "s.json", "--customer-id", other["id"].as_str().unwrap()]);
    assert!(done.status == 1 && done.err.contains("give another --state"), "{}", done.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_too_long_is_told_and_passed() {
    let desk = Desk::new().await;
    let long = "x".repeat(9_000_000);
    desk.write("app.log", format!("before\n{long}\nafter\n{}", "y".repeat(5_000_000)));
    let following = Following::start(&desk, &["app.log"]);
    until("what can be sent is there", async || desk.logs("OKTA").await.len() == 2).await;
    OpenOptions::new().append(true).open(desk.home.path("app.log")).unwrap().write_all(b"y\nlast\n").unwrap();
    until("the last is there", async || desk.logs("OKTA").await.len() == 3).await;
    let (last, complaints) = following.stop(libc::SIGTERM);
    for text in ["the line at byte 7 has 9000000 bytes", "the line at byte 9000014 has 5000001 bytes"] {
        assert!(complaints.contains(text), "{complaints}");
    }
    assert_eq!(last["files"][0]["left_out"], 2);
    assert_eq!(desk.logs("OKTA").await, [&b"after"[..], b"before", b"last"]);
}
