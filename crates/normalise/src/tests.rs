//! Tests of reading frames: what comes of records, in which order, by which parser, within which limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use event::{Batch, BatchMeta, IdSource, InstanceId, Kind, Position, Record, Tally, Time, Why, codec, limits};

use crate::{Frame, Normaliser, Options, OwnTurns, Parser, Read, Schedule, Turn, Turns};

const WORDS: &str = r#"filter {
  grok { match => { "message" => ["^(?P<verb>[a-z]+) (?P<rest>.*)$"] } }
  if [verb] == "drop" { drop { tag => "TAG_UNSUPPORTED" } }
  mutate { replace => { "event.idm.read_only_udm.metadata.event_type" => "GENERIC_EVENT" } }
  mutate { replace => { "event.idm.read_only_udm.metadata.description" => "%{rest}" } }
  mutate { merge => { "@output" => "event" } }
  if [verb] == "twice" { mutate { merge => { "@output" => "event" } } }
}"#;

/// Takes all it may for logs that say so.
const SLOW: &str = r#"filter {
  mutate { replace => { "event.idm.read_only_udm.metadata.event_type" => "GENERIC_EVENT" } }
  if [message] =~ "^slow" {
    mutate { replace => { "a" => "x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x" } }
    mutate { split => { source => "a" separator => "," target => "l" } }
    for a in l { for b in l { for c in l { for d in l { for e in l { mutate { replace => { "z" => "%{a}" } } } } } } }
  }
  mutate { merge => { "@output" => "event" } }
}"#;

fn instance(number: u128) -> InstanceId {
    InstanceId::from_uuid(uuid::Uuid::from_u128(number))
}

fn at(offset: u64) -> Position {
    Position { epoch: 1, offset }
}

fn frame(offset: u64, whose: u128, kind: Kind, log_type: &str, records: &[&str]) -> Frame {
    let received_at = Time::parse_rfc3339("2026-11-21T12:00:00Z").unwrap();
    let meta = BatchMeta {
        id: IdSource::default().next(received_at, offset),
        instance: instance(whose),
        kind,
        received_at,
        log_type: log_type.to_owned(),
        feed: String::new(),
        sender: String::new(),
        namespace: String::new(),
        labels: Vec::new(),
    };
    let records = records.iter().map(|text| Record::new(text.as_bytes().to_vec())).collect();
    let payload = codec::encode(&[Batch { meta: Arc::new(meta), records }]);
    Frame::new(at(offset), Bytes::from(payload))
}

fn turn(offset: u64, id: &str, source: &str) -> Turn {
    Turn { from: at(offset), parser: Some(Arc::new(Parser::new(id, "words.conf", source).unwrap())) }
}

fn schedule() -> Schedule {
    let own = OwnTurns { parser: Turns::new(vec![turn(500, "slow", SLOW)]), extension: Turns::default() };
    Schedule {
        shipped: HashMap::from([("WORDS".to_owned(), Turns::new(vec![turn(0, "words", WORDS)]))]),
        own: HashMap::from([(instance(1), HashMap::from([("WORDS".to_owned(), own)]))]),
    }
}

fn normaliser() -> Normaliser {
    Normaliser::new(udm::Schema::load(), Options { threads: 2, ..Options::default() }, schedule()).unwrap()
}

/// Each event in a word: its kind, index, ordinal, parser, and what it says.
fn told(read: &Read) -> Vec<String> {
    let tell = |event: &event::Event| {
        let json: serde_json::Value = serde_json::from_slice(&event.data).unwrap_or_default();
        let said = json["metadata"]["description"].as_str().unwrap_or("-").to_owned();
        let parser = event.parser.as_deref().unwrap_or("-");
        format!("{} {} {} {parser} {said}", event.kind.name(), event.index, event.ordinal)
    };
    read.events.iter().map(tell).collect()
}

#[test]
fn records_come_first_and_what_was_made_of_them_behind() {
    let read = normaliser().read(&frame(0, 1, Kind::Raw, "WORDS", &["twice a", "drop b", "NO", "once c"])).unwrap();
    let expected = [
        "raw 0 0 words -",
        "raw 1 0 words -",
        "raw 2 0 words -",
        "raw 3 0 words -",
        "udm 0 0 words a",
        "udm 0 1 words a",
        "udm 3 0 words c",
    ];
    assert_eq!(told(&read), expected);
    assert_eq!(read.sent, 4);
    let [(key, tally)] = &read.tallies[..] else { panic!("{:?}", read.tallies) };
    assert_eq!((&*key.log_type, &*key.parser), ("WORDS", "words"));
    assert_eq!(*tally, Tally { parsed: 2, dropped: 1, failed: 1, events: 3 });
    let [failure] = &read.failures[..] else { panic!("{:?}", read.failures) };
    assert_eq!((failure.index, failure.why, failure.line, failure.column), (2, Why::Failed, 2, 3));
    assert!(failure.message.contains("filter grok (0) failed"), "{}", failure.message);
    // The reason stands on the record, too, and on no other.
    let issues: Vec<usize> = read.events.iter().map(|event| event.issues.len()).collect();
    assert_eq!(issues, [0, 0, 1, 0, 0, 0, 0]);
    assert!(read.events[2].issues[0].message.ends_with("(line 2, column 3 of words)"), "{:?}", read.events[2].issues);
}

#[test]
fn without_a_parser_a_record_becomes_a_generic_event_and_udm_stays_as_it_is() {
    let normaliser = normaliser();
    let read = normaliser.read(&frame(0, 1, Kind::Raw, "OTHER", &["<13>Nov 21 11:59:58 web1 app: hello"])).unwrap();
    assert_eq!(told(&read)[0], "raw 0 0 generic -");
    assert_eq!(read.events.len(), 2);
    // A raw record without a time of its own has the one that was found in it.
    let time = Time::parse_rfc3339("2026-11-21T11:59:58Z").unwrap();
    assert_eq!((read.events[0].event_time, read.events[1].event_time), (time, time));
    let udm = r#"{"metadata":{"event_timestamp":"2026-11-20T00:00:00Z","event_type":"GENERIC_EVENT"}}"#;
    let read = normaliser.read(&frame(1, 1, Kind::Udm, "UDM", &[udm])).unwrap();
    assert_eq!(told(&read), ["udm 0 0 - -"]);
    assert_eq!(read.tallies, []);
}

#[test]
fn nothing_is_parsed_where_that_is_off_or_nobody_wants_it() {
    let frame = frame(0, 1, Kind::Raw, "WORDS", &["once a"]);
    let off = Options { enabled: false, ..Options::default() };
    let off = Normaliser::new(udm::Schema::load(), off, schedule()).unwrap();
    assert_eq!(told(&off.read(&frame).unwrap()), ["raw 0 0 - -"]);
    assert_eq!(told(&normaliser().records(frame.position, &frame.payload).unwrap()), ["raw 0 0 - -"]);
    let no_generic = Options { generic: false, ..Options::default() };
    let no_generic = Normaliser::new(udm::Schema::load(), no_generic, Schedule::default()).unwrap();
    assert_eq!(told(&no_generic.read(&frame).unwrap()), ["raw 0 0 - -"]);
}

#[test]
fn the_same_frame_gives_the_same_however_it_is_read() {
    let texts: Vec<String> = (0..1_500).map(|number| format!("twice {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let frames: Vec<Frame> = (0..3).map(|number| frame(number, 1, Kind::Raw, "WORDS", &texts)).collect();
    let alone = |frame: &Frame| told(&normaliser().read(frame).unwrap());
    let together = normaliser().read_all(&frames);
    for (frame, read) in frames.iter().zip(together) {
        let read = read.unwrap();
        assert_eq!(told(&read), alone(frame));
        assert_eq!(read.tallies.len(), 1);
        assert_eq!(read.tallies[0].1, Tally { parsed: 1_500, events: 3_000, ..Tally::default() });
    }
    // Many at once for the same frames: each is read by one, and all see the same.
    let normaliser = normaliser();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| told(&normaliser.read(&frames[1]).unwrap()))).collect();
        let first = alone(&frames[1]);
        readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap(), first));
    });
}

#[test]
fn a_change_counts_from_its_place_on_whoever_reads_and_whenever() {
    let normaliser = normaliser();
    let frames: Vec<Frame> = (0..3).map(|number| frame(number * 10, 1, Kind::Raw, "WORDS", &["once a"])).collect();
    normaliser.read_all(&frames[..2]).into_iter().for_each(|read| assert!(read.is_ok()));
    let mut seen = None;
    let changed = normaliser.change(|furthest| {
        seen = furthest;
        let mut changed = schedule();
        changed.shipped.insert("WORDS".to_owned(), Turns::new(vec![turn(0, "words", WORDS), turn(15, "new", WORDS)]));
        Ok::<_, ()>(changed)
    });
    assert_eq!((changed, seen), (Ok(()), Some(at(10))));
    let parsers: Vec<String> =
        normaliser.read_all(&frames).into_iter().map(|read| told(&read.unwrap())[0].clone()).collect();
    assert_eq!(parsers, ["raw 0 0 words -", "raw 0 0 words -", "raw 0 0 new -"]);
    // What fails changes nothing.
    assert_eq!(normaliser.change(|_| Err("no")), Err("no"));
    assert_eq!(told(&normaliser.read(&frames[2]).unwrap())[0], "raw 0 0 new -");
}

#[test]
fn a_parser_that_takes_too_much_is_limited_and_told_of_and_others_go_on() {
    let normaliser = normaliser();
    let troubles = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&troubles);
    normaliser.on_trouble(move |trouble| seen.lock().unwrap().push(trouble));
    // All but the first of a chunk have less than they need: the chunk as a whole is bounded.
    let texts: Vec<&str> = std::iter::repeat_n("slow", 40).chain(["quick"]).collect();
    let read = normaliser.read(&frame(500, 1, Kind::Raw, "WORDS", &texts)).unwrap();
    assert_eq!(read.failures.len(), 41);
    assert!(read.failures.iter().all(|failure| failure.why == Why::Limit && &*failure.parser == "slow"));
    let full = limits::NORMALISE_CHUNK_STEPS / limits::NORMALISE_LOG_STEPS;
    let by_themselves = read.failures.iter().filter(|failure| failure.line > 0).count() as u64;
    assert_eq!(by_themselves, full, "the others were not begun");
    // The records themselves are there, each with its reason.
    assert_eq!((read.sent, read.events.len()), (41, 41));
    // Another instance's logs of the same type are read by ours.
    let other = normaliser.read(&frame(501, 2, Kind::Raw, "WORDS", &["once a"])).unwrap();
    assert_eq!(told(&other), ["raw 0 0 words -", "udm 0 0 words a"]);
    let again = normaliser.read(&frame(502, 1, Kind::Raw, "WORDS", &texts)).unwrap();
    assert_eq!(again.failures.len(), 41);
    // Nobody set it aside, so it is told of again.
    let troubles = troubles.lock().unwrap();
    let [trouble, _] = &troubles[..] else { panic!("{troubles:?}") };
    assert_eq!((trouble.instance, &*trouble.log_type, &*trouble.parser), (instance(1), "WORDS", "slow"));
}

#[test]
fn a_few_logs_at_the_limit_among_many_good_ones_are_no_trouble() {
    let normaliser = normaliser();
    normaliser.on_trouble(|trouble| panic!("{trouble:?}"));
    let mut texts = vec!["quick"; 255];
    texts.push("slow");
    for offset in 500..530 {
        let read = normaliser.read(&frame(offset, 1, Kind::Raw, "WORDS", &texts)).unwrap();
        assert_eq!(read.failures.len(), 1);
    }
}

#[test]
fn records_that_are_read_again_are_as_if_they_came_now() {
    let normaliser = normaliser();
    let before = normaliser.read(&frame(0, 2, Kind::Raw, "WORDS", &["once a", "NO"])).unwrap();
    let records: Vec<event::Event> = before.events[..2].to_vec();
    let choice = crate::Choice::new(turn(0, "slow", SLOW).parser, None, false);
    let after = normaliser.reread(records, &Arc::new(choice));
    let expected = ["raw 0 0 slow -", "raw 1 0 slow -", "udm 0 0 slow -", "udm 1 0 slow -"];
    assert_eq!(told(&after), expected);
    assert!(after.events.iter().all(|event| event.issues.is_empty()), "what was wrong before is gone");
}

#[test]
fn a_frame_of_many_records_is_read_in_slices_that_lie_where_they_lie() {
    let normaliser = normaliser();
    let texts: Vec<String> = (0..limits::NORMALISE_SLICE_RECORDS + 10).map(|number| format!("once {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let whole = frame(0, 2, Kind::Raw, "WORDS", &texts);
    let first = normaliser.read(&whole).unwrap();
    assert_eq!((first.sent, first.through as usize, first.is_last), (texts.len() - 10, texts.len() - 10, false));
    let rest = normaliser.read(&Frame { first: first.through, ..whole.clone() }).unwrap();
    assert_eq!((rest.sent, rest.through as usize, rest.is_last), (10, texts.len(), true));
    assert_eq!(rest.events.last().unwrap().index as usize, texts.len() - 1);
    let all: usize = [&first, &rest].iter().map(|read| read.events.len()).sum();
    assert_eq!(all, 2 * texts.len());
    // As they were sent they are all there at once.
    assert_eq!(normaliser.records(whole.position, &whole.payload).unwrap().sent, texts.len());

    // By their bytes, too; one that is larger than a slice is one.
    let (large, small) = ("x".repeat(limits::NORMALISE_SLICE_BYTES + 1), "y".repeat(limits::NORMALISE_SLICE_BYTES / 2));
    let mut next = frame(1, 2, Kind::Raw, "NONE", &["a", &large, &small, &small, "b"]);
    let mut slices = Vec::new();
    loop {
        let read = normaliser.read(&next).unwrap();
        slices.push(read.sent);
        if read.is_last {
            break;
        }
        next.first = read.through;
    }
    assert_eq!(slices, [1, 1, 2, 1]);
}
