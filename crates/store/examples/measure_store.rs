//! Measures what storing costs: CPU seconds per 10^9 bytes of records, bytes on disk, memory beside the tail.
//!
//! `cargo run --release -p store --example measure_store -- raw|udm [MEGABYTES]`: seeded records of about 700 bytes, in
//! frames of about 1 MB, through a store of its own in a temporary folder. Making the records is not counted.

use std::sync::Arc;

use bytes::Bytes;
use event::{BatchMeta, Event, IdSource, InstanceId, Kind, Position, Time};
use store::{Frame, Probe, Store, StoreOptions};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let kind = match arguments.next().as_deref() {
        Some("raw") => Kind::Raw,
        Some("udm") => Kind::Udm,
        other => panic!("the first argument is raw or udm, not {other:?}"),
    };
    let megabytes: usize = arguments.next().map_or(500, |text| text.parse().expect("a number of megabytes"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let start = Time::parse_rfc3339("2026-11-21T10:00:00Z").expect("a time");
    let store = Store::open(StoreOptions::new(dir.path()), udm::Schema::load(), start).expect("a new store");
    let mut random = Random(0x5EED);
    let mut ids = IdSource::default();
    let mut offset = 0;
    let (mut bytes, mut rows, mut cpu_push, mut cpu_flush, mut wall_flush) = (0usize, 0usize, 0.0, 0.0, 0.0);
    let (mut flushes, mut beside_tail_max) = (0, 0);
    while bytes < megabytes * 1_000_000 {
        let now = start.saturating_add_nanos(rows as i64 * 35_000);
        let frame = frame(kind, &mut random, &mut ids, now, &mut offset);
        bytes += frame.events.iter().map(|event| event.data.len()).sum::<usize>();
        rows += frame.events.len();
        let before = cpu_seconds();
        store.push(frame).expect("frames follow on");
        let due = store.flush_due(now);
        cpu_push += cpu_seconds() - before;
        if due {
            std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
            let (before, wall, memory) = (cpu_seconds(), std::time::Instant::now(), memory_kib("VmRSS:"));
            store.flush(now).expect("a disk");
            cpu_flush += cpu_seconds() - before;
            wall_flush += wall.elapsed().as_secs_f64();
            beside_tail_max = beside_tail_max.max(memory_kib("VmHWM:") - memory);
            flushes += 1;
        }
    }
    store.flush(start).expect("a disk");
    let before = cpu_seconds();
    let mut merges = 0;
    while store.maintain(start).expect("a disk") {
        merges += 1;
    }
    let cpu_maintain = cpu_seconds() - before;
    let (mut files, mut filters) = (0, 0);
    for part in store.snapshot().parts() {
        files += part.summary().file_bytes;
        filters += part.summary().filter_bytes;
    }
    let mut alarms = [(11, 0), (16, 0), (20, 0), (27, 0)];
    let mut chunks = 0;
    for part in store.snapshot().parts() {
        let filter = part.filter().expect("it was just written");
        for index in 0..filter.chunks() {
            let mut buffer = Vec::new();
            let chunk = filter.chunk(index, &mut buffer).expect("it was just written");
            for (length, count) in &mut alarms {
                for _ in 0..100 {
                    let needle = random.word(*length);
                    let probe = if kind == Kind::Raw { Probe::text(&needle) } else { Some(Probe::value(&needle)) };
                    *count += usize::from(probe.is_some_and(|probe| chunk.may_hold(&probe)));
                }
            }
            chunks += 100;
        }
    }
    for (length, count) in alarms {
        println!("needle of {length} random letters: {:.2} % false alarms", 100.0 * count as f64 / chunks as f64);
    }
    let gigabytes = bytes as f64 / 1e9;
    println!("{rows} rows, {} bytes each, {flushes} flushes, {merges} merges", bytes / rows);
    println!(
        "CPU s/GB: push {:.2}, flush {:.2}, maintain {:.2}; flush {:.1} MB/s by the clock",
        cpu_push / gigabytes,
        cpu_flush / gigabytes,
        cpu_maintain / gigabytes,
        bytes as f64 / 1e6 / wall_flush
    );
    println!(
        "on disk per byte of records: {:.3} parts, {:.4} filters; memory of a flush beside the tail: {} KiB",
        files as f64 / bytes as f64,
        filters as f64 / bytes as f64,
        beside_tail_max
    );
}

fn frame(kind: Kind, random: &mut Random, ids: &mut IdSource, now: Time, offset: &mut u64) -> Frame {
    let batch = Arc::new(BatchMeta {
        id: ids.next(now, random.next()),
        instance: InstanceId::from_uuid(uuid::Uuid::from_u128(1)),
        kind,
        received_at: now,
        log_type: "OKTA".to_owned(),
        feed: String::new(),
        sender: "collector@example.com".to_owned(),
        namespace: "prod".to_owned(),
        labels: Vec::new(),
    });
    let position = Position { epoch: 7, offset: *offset };
    let mut text = String::new();
    let mut ends = Vec::new();
    while text.len() < 1_000_000 {
        let time = now.saturating_add_nanos(-((random.next() % 30_000_000_000) as i64));
        match kind {
            Kind::Raw => random.okta(time, &mut text),
            _ => random.udm(time, &mut text),
        }
        ends.push((text.len(), time));
    }
    let data = Bytes::from(text);
    let mut start = 0;
    let events = (ends.iter().enumerate())
        .map(|(index, (end, time))| Event {
            batch: batch.clone(),
            position,
            index: index as u32,
            kind,
            data: data.slice(std::mem::replace(&mut start, *end)..*end),
            sender_time: Some(*time),
            collected_at: None,
            event_time: *time,
            issues: Vec::new(),
            parser: None,
            ordinal: 0,
        })
        .collect();
    *offset += data.len() as u64 + 64;
    Frame { position, next: Position { epoch: 7, offset: *offset }, events, ..Frame::default() }
}

/// xorshift64*: the same records in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[(self.next() >> 33) as usize % of.len()]
    }

    fn word(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).map(|_| char::from(LETTERS[(self.next() >> 33) as usize % LETTERS.len()])).collect()
    }

    fn okta(&mut self, time: Time, out: &mut String) {
        use std::fmt::Write as _;
        let user = self.next() >> 33;
        let user = user % 5_000;
        let uuid = uuid::Uuid::from_u128(u128::from(self.next()) << 64 | u128::from(self.next()));
        let ip = self.next();
        write!(
            out,
            r#"{{"actor":{{"id":"00u{user:017}","type":"User","alternateId":"user{user}@example.com","displayName":"User {user}"}},"client":{{"userAgent":{{"rawUserAgent":"{}","os":"{}","browser":"{}"}},"zone":"null","device":"Computer","ipAddress":"{}.{}.{}.{}","geographicalContext":{{"city":"{}","country":"{}"}}}},"displayMessage":"{}","eventType":"{}","outcome":{{"result":"{}"}},"published":"{time}","severity":"INFO","debugContext":{{"debugData":{{"requestId":"{}","requestUri":"/api/v1/authn"}}}},"transaction":{{"type":"WEB","id":"{}"}},"uuid":"{uuid}","version":"0"}}"#,
            self.one(&["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15", "okta-sdk/2.1"]),
            self.one(&["Windows 10", "Mac OS X", "Linux"]),
            self.one(&["CHROME", "SAFARI", "UNKNOWN"]),
            ip >> 56, ip >> 48 & 255, ip >> 40 & 255, ip >> 32 & 255,
            self.one(&["Seoul", "Tokyo", "Berlin", "London", "Austin", "Paris"]),
            self.one(&["Korea", "Japan", "Germany", "United Kingdom", "United States", "France"]),
            self.one(&["User login to Okta", "User single sign on to app", "Evaluation of sign-on policy"]),
            self.one(&["user.session.start", "user.authentication.sso", "policy.evaluate_sign_on", "user.session.end"]),
            self.one(&["SUCCESS", "FAILURE", "ALLOW"]),
            self.word(27),
            self.word(27),
        )
        .expect("a String takes every text");
    }

    fn udm(&mut self, time: Time, out: &mut String) {
        use std::fmt::Write as _;
        let user = (self.next() >> 33) % 5_000;
        let ip = self.next();
        write!(
            out,
            r#"{{"metadata":{{"event_timestamp":"{time}","event_type":"USER_LOGIN","vendor_name":"Okta","product_name":"Okta","product_log_id":"{}","product_event_type":"{}","description":"{}"}},"principal":{{"ip":["{}.{}.{}.{}"],"hostname":"host-{}","user":{{"userid":"00u{user:017}","email_addresses":["user{user}@example.com"],"user_display_name":"User {user}"}},"location":{{"city":"{}","country_or_region":"{}"}},"asset":{{"hostname":"host-{}"}}}},"target":{{"application":"okta","resource":{{"name":"{}"}}}},"network":{{"session_id":"{}","http":{{"user_agent":"{}"}}}},"security_result":[{{"action":["{}"],"severity":"INFORMATIONAL"}}]}}"#,
            uuid::Uuid::from_u128(u128::from(self.next()) << 64 | u128::from(self.next())),
            self.one(&["user.session.start", "user.authentication.sso", "policy.evaluate_sign_on", "user.session.end"]),
            self.one(&["User login to Okta", "User single sign on to app", "Evaluation of sign-on policy"]),
            ip >> 56, ip >> 48 & 255, ip >> 40 & 255, ip >> 32 & 255,
            user % 900,
            self.one(&["Seoul", "Tokyo", "Berlin", "London", "Austin", "Paris"]),
            self.one(&["Korea", "Japan", "Germany", "United Kingdom", "United States", "France"]),
            user % 900,
            self.word(20),
            self.word(27),
            self.one(&["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0", "okta-sdk/2.1"]),
            self.one(&["ALLOW", "BLOCK"]),
        )
        .expect("a String takes every text");
    }
}

fn cpu_seconds() -> f64 {
    // SAFETY: the structure is plain numbers, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line of this name");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
}
