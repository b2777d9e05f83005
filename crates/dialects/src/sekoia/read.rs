//! One pass over a body: its keys, and where its events lie. Decides nothing about whose keys those are; notes every fault
//! with the item that it is on.
//!
//! Events are texts, unescaped, or JSON objects as they stand in the body: the documentation wants those quoted, senders
//! such as Corelight and Logstash send them as they are (contracts/sekoia.md §1.5). Keys of an envelope that we do not know
//! are skipped.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use event::{Time, limits};

use super::not_a_time;
use super::path::{Path, Step};
use super::reply::Oversize;
use crate::faults::Faults;
use crate::json::{Place, Scanner, Shape, SyntaxError};
use crate::snapshot::Limits;
use crate::when;

/// What a body holds. Not to be shown: it has keys.
#[derive(Default)]
pub(super) struct Events {
    /// The events that may be taken, in order.
    pub(super) items: Vec<Item>,
    /// How many events there were, those included that may not.
    pub(super) count: usize,
    /// Those that are too large, in order.
    pub(super) oversize: Vec<Oversize>,
    /// The keys in the body, each once, in the order in which they were met.
    pub(super) keys: Vec<Key>,
    /// The first place where a key was due and none stood.
    pub(super) keyless: Option<String>,
    /// What is wrong.
    pub(super) faults: Faults,
    /// Whether something is wrong with a key, so that it cannot be said whose the events are.
    pub(super) is_key_faulty: bool,
    /// Texts that had escapes.
    pub(super) side: Bytes,
}

/// An event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) slice: Slice,
    /// Its key, as a place in [`Events::keys`]; beyond them where it named none.
    pub(super) key: u32,
    pub(super) time: Option<Time>,
}

/// Where its bytes are: in the body or among the unescaped texts. Bodies are far below 4 GiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) in_side: bool,
}

const _: () = assert!(limits::FRAME_BYTES_MAX < u32::MAX as usize);

impl Slice {
    fn of(range: Range<usize>, in_side: bool) -> Slice {
        let narrow = |at: usize| u32::try_from(at).expect("a body is shorter than a frame");
        Slice { start: narrow(range.start), end: narrow(range.end), in_side }
    }
}

/// A key that stood in a body. Not to be shown.
pub(super) struct Key {
    pub(super) text: String,
    /// Where it was met first.
    pub(super) field: String,
}

/// Longest key that is looked at, as it is written.
const KEY_BYTES_MAX: usize = 256;

/// An item that named no key.
const NO_KEY: u32 = u32::MAX;

/// The whole body as one event.
pub(super) fn whole(body: &[u8], limits: &Limits) -> Events {
    let mut events = Events { count: 1, ..Events::default() };
    if body.is_empty() {
        events.count = 0;
        events.faults.add("body", "is empty: send an event");
    } else if body.len() > limits.sekoia_event_bytes_max {
        events.oversize.push(Oversize { index: 0, bytes: body.len(), key: NO_KEY });
    } else {
        events.items.push(Item { slice: Slice::of(0..body.len(), false), key: NO_KEY, time: None });
    }
    events
}

/// The lines of the body: what stands between line feeds, without one carriage return at its end. Lines of nothing are no
/// events.
pub(super) fn lines(body: &[u8], limits: &Limits) -> Events {
    let mut events = Events::default();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', body).chain([body.len()]) {
        let text_end = if end > start && body[end - 1] == b'\r' { end - 1 } else { end };
        if text_end > start {
            events.add(Slice::of(start..text_end, false), NO_KEY, None, limits);
        }
        start = end + 1;
    }
    if events.count == 0 {
        events.faults.add("body", if body.is_empty() { "is empty: send events" } else { "holds no event" });
    }
    events
}

impl Events {
    fn add(&mut self, slice: Slice, key: u32, time: Option<Time>, limits: &Limits) {
        let bytes = (slice.end - slice.start) as usize;
        let index = self.count;
        self.count += 1;
        if bytes > limits.sekoia_event_bytes_max {
            self.oversize.push(Oversize { index, bytes, key });
        } else if self.items.len() < limits::SEKOIA_EVENTS_MAX {
            self.items.push(Item { slice, key, time });
        }
    }
}

/// Whether a body is an envelope: an object that holds a key. One that breaks off behind its key is one as well, and will
/// be refused as such rather than kept with the key in it.
pub(super) fn is_envelope(body: &[u8]) -> bool {
    let mut scanner = Scanner::new(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    let mut has_key = false;
    let mut look = || -> Result<(), SyntaxError> {
        let mut first = true;
        scanner.object()?;
        while let Some(key) = scanner.key(&mut first)? {
            has_key |= is_key_name(&key);
            scanner.skip()?;
        }
        scanner.end()
    };
    let _ = look();
    has_key
}

/// The key at the beginning of an envelope, or of the first one of a list, where what stands before it is whole.
pub(super) fn first_key(start: &[u8], is_list: bool) -> Option<String> {
    let mut scanner = Scanner::new(start);
    let mut look = || -> Result<Option<String>, SyntaxError> {
        let mut first = true;
        if is_list {
            scanner.list()?;
            if !scanner.item(&mut first)? {
                return Ok(None);
            }
            first = true;
        }
        scanner.object()?;
        while let Some(name) = scanner.key(&mut first)? {
            if is_key_name(&name) {
                let text = scanner.string()?;
                return Ok(Some(scanner.text(&text.place).into_owned()));
            }
            scanner.skip()?;
        }
        Ok(None)
    };
    look().unwrap_or(None)
}

fn is_key_name(name: &[u8]) -> bool {
    // The second is a misprint in the documentation's table, which some will have copied.
    matches!(name, b"intake_key" | b"intakey_key")
}

/// How a key was named.
fn spelling(name: &[u8]) -> &'static str {
    if name == b"intakey_key" { "intakey_key" } else { "intake_key" }
}

/// The body of `/`: `{intake_key, json, "@timestamp"?}`.
pub(super) fn one(body: &[u8], limits: &Limits, now: Time) -> Result<Events, SyntaxError> {
    let mut reader = Reader::new(body, limits, now, List::None);
    if reader.scanner.shape()? == Shape::Object {
        reader.envelope()?;
    } else {
        reader.scanner.skip()?;
        reader.events.faults.add("body", "must be an object with intake_key and json");
    }
    reader.end()
}

/// The body of `/batch`: `{intake_key, jsons: […]}`.
pub(super) fn batch(body: &[u8], limits: &Limits) -> Result<Events, SyntaxError> {
    let mut reader = Reader::new(body, limits, Time::MIN, List::Named("jsons"));
    if reader.scanner.shape()? != Shape::Object {
        reader.scanner.skip()?;
        let what = "must be an object with intake_key and jsons; lines of text go to /plain/batch, a list to /jsons";
        reader.events.faults.add("body", what);
        return reader.end();
    }
    let mut key = Once::default();
    let mut has_list = false;
    let mut first = true;
    reader.scanner.object()?;
    while let Some(name) = reader.scanner.key(&mut first)? {
        match &*name {
            name if is_key_name(name) => reader.key(&mut key, spelling(name))?,
            b"jsons" if has_list => {
                reader.scanner.skip()?;
                reader.events.faults.add("jsons", "given twice");
            }
            b"jsons" => {
                has_list = true;
                reader.list()?;
            }
            _ => {
                reader.scanner.skip()?;
            }
        }
    }
    if !has_list {
        reader.events.faults.add("jsons", "missing");
    }
    let key = reader.note_key(key, "intake_key");
    for item in &mut reader.events.items {
        item.key = key;
    }
    for oversize in &mut reader.events.oversize {
        oversize.key = key;
    }
    reader.end()
}

/// The body of `/array`: `[{intake_key, json, timestamp?}, …]`.
pub(super) fn array(body: &[u8], limits: &Limits, now: Time) -> Result<Events, SyntaxError> {
    let mut reader = Reader::new(body, limits, now, List::Whole);
    if reader.scanner.shape()? != Shape::List {
        reader.scanner.skip()?;
        reader.events.faults.add("body", "must be a list of objects with intake_key and json");
        return reader.end();
    }
    let mut first = true;
    reader.scanner.list()?;
    while reader.scanner.item(&mut first)? {
        let shape = reader.scanner.shape()?;
        if shape == Shape::Object {
            reader.envelope()?;
        } else {
            reader.scanner.skip()?;
            let what = format!("must be an object with intake_key and json, not {}", shape.with_article());
            reader.fault("", what);
            reader.events.count += 1;
        }
    }
    reader.end()
}

/// The body of `/jsons`: a list, or an object in which the path leads to one.
pub(super) fn jsons(body: &[u8], path: Option<&Path>, limits: &Limits) -> Result<Events, SyntaxError> {
    let mut reader = Reader::new(body, limits, Time::MIN, List::Whole);
    let steps = path.map_or(&[][..], |path| &path.steps);
    match reader.descend(steps)? {
        Descent::Found => {}
        Descent::Missing => {
            let path: String = path.map_or("$", Path::text).chars().take(100).collect();
            reader.events.faults.add("path", format!("leads to nothing in the body: {path}"));
        }
        Descent::NoList(shape) if path.is_none() => {
            let hint = if shape == Shape::Object { "; ?path=$.a.b names a list within an object" } else { "" };
            let what = format!("must be a list of events, not {}{hint}", shape.with_article());
            reader.events.faults.add("body", what);
        }
        Descent::NoList(shape) => {
            reader.events.faults.add("path", format!("leads to {}, no list", shape.with_article()))
        }
    }
    reader.end()
}

/// What the list of events is called where something in it is named.
#[derive(Debug, Clone, Copy)]
enum List {
    /// There is none.
    None,
    /// The body is the list.
    Whole,
    /// A field.
    Named(&'static str),
}

/// A text that may stand once.
#[derive(Default)]
struct Once {
    met: bool,
    text: Option<String>,
}

/// What came of a way through a body.
enum Descent {
    Found,
    Missing,
    NoList(Shape),
}

struct Reader<'a> {
    scanner: Scanner<'a>,
    body: &'a [u8],
    limits: &'a Limits,
    now: Time,
    list: List,
    events: Events,
    /// Places of keys that were met.
    key_places: HashMap<String, u32>,
    /// The key of the item before, which is nearly always the next one's, too.
    last_key: u32,
}

impl<'a> Reader<'a> {
    fn new(body: &'a [u8], limits: &'a Limits, now: Time, list: List) -> Reader<'a> {
        let scanner = Scanner::new(body);
        let events = Events::default();
        Reader { scanner, body, limits, now, list, events, key_places: HashMap::new(), last_key: NO_KEY }
    }

    fn end(mut self) -> Result<Events, SyntaxError> {
        self.scanner.end()?;
        self.events.side = self.scanner.into_side().into();
        Ok(self.events)
    }

    /// The current item, or a field of it.
    fn field(&self, suffix: &str) -> String {
        let dot = if suffix.is_empty() { "" } else { "." };
        match self.list {
            List::None => suffix.to_owned(),
            List::Whole => format!("[{}]{dot}{suffix}", self.events.count),
            List::Named(name) => format!("{name}[{}]{dot}{suffix}", self.events.count),
        }
    }

    fn fault(&mut self, suffix: &str, description: impl Into<String>) {
        let field = self.field(suffix);
        self.events.faults.add(field, description);
    }

    /// A list of events.
    fn list(&mut self) -> Result<(), SyntaxError> {
        let shape = self.scanner.shape()?;
        if shape != Shape::List {
            self.scanner.skip()?;
            let name = if let List::Named(name) = self.list { name } else { "body" };
            self.events.faults.add(name, format!("must be a list of events, not {}", shape.with_article()));
            return Ok(());
        }
        let mut first = true;
        self.scanner.list()?;
        while self.scanner.item(&mut first)? {
            match self.event("")? {
                Some(slice) => self.events.add(slice, NO_KEY, None, self.limits),
                None => self.events.count += 1,
            }
        }
        Ok(())
    }

    /// An event; `None` with its fault noted when it is none that can be taken.
    fn event(&mut self, suffix: &str) -> Result<Option<Slice>, SyntaxError> {
        let shape = self.scanner.shape()?;
        let (slice, unclean) = match shape {
            Shape::String => {
                let text = self.scanner.string()?;
                let slice = match text.place {
                    Place::Body(range) => Slice::of(range, false),
                    Place::Side(range) => Slice::of(range, true),
                };
                (slice, text.unclean)
            }
            Shape::Object => {
                self.scanner.take_unclean();
                let range = self.scanner.skip()?;
                (Slice::of(range, false), self.scanner.take_unclean())
            }
            _ => {
                self.scanner.skip()?;
                self.fault(suffix, format!("must be a string or an object, not {}", shape.with_article()));
                return Ok(None);
            }
        };
        if let Some(unclean) = unclean {
            self.fault(suffix, unclean.describe());
            return Ok(None);
        }
        Ok(Some(slice))
    }

    /// An envelope with one event.
    fn envelope(&mut self) -> Result<(), SyntaxError> {
        let mut key = Once::default();
        let mut event: Option<Option<Slice>> = None;
        let mut time: Option<(&'static str, Option<Time>)> = None;
        let mut first = true;
        self.scanner.object()?;
        while let Some(name) = self.scanner.key(&mut first)? {
            match &*name {
                name if is_key_name(name) => self.key(&mut key, spelling(name))?,
                b"json" if event.is_some() => {
                    self.scanner.skip()?;
                    self.fault("json", "given twice");
                }
                b"json" => event = Some(self.event("json")?),
                b"timestamp" | b"@timestamp" => {
                    let name = if name[0] == b'@' { "@timestamp" } else { "timestamp" };
                    let read = self.time(name)?;
                    match time {
                        Some((other, before)) if other == name || before != read => {
                            self.fault(name, format!("given twice, as {other} before"));
                        }
                        _ => time = Some((name, read)),
                    }
                }
                _ => {
                    self.scanner.skip()?;
                }
            }
        }
        if event.is_none() {
            self.fault("json", "missing");
        }
        let field = self.field("intake_key");
        let key = self.note_key(key, &field);
        let time = time.and_then(|(_, time)| time);
        match event.flatten() {
            Some(slice) => self.events.add(slice, key, time, self.limits),
            None => self.events.count += 1,
        }
        Ok(())
    }

    /// The value of a key under this name.
    fn key(&mut self, key: &mut Once, name: &'static str) -> Result<(), SyntaxError> {
        let shape = self.scanner.shape()?;
        if shape != Shape::String {
            self.scanner.skip()?;
            key.met = true;
            self.key_fault(name, format!("must be a string, not {}", shape.with_article()));
            return Ok(());
        }
        let text = self.scanner.string()?;
        if text.raw.len() > KEY_BYTES_MAX {
            key.met = true;
            self.key_fault(name, format!("has more than {KEY_BYTES_MAX} bytes; no key is so long"));
            return Ok(());
        }
        let text = self.scanner.text(&text.place).into_owned();
        if key.met && key.text.as_ref() != Some(&text) {
            self.key_fault(name, "given twice, and it is not the same key".to_owned());
        }
        key.met = true;
        key.text = Some(text);
        Ok(())
    }

    fn key_fault(&mut self, name: &str, description: String) {
        self.events.is_key_faulty = true;
        match self.list {
            List::Whole => self.fault(name, description),
            List::None | List::Named(_) => self.events.faults.add(name, description),
        }
    }

    /// The place of a key that was read at this field.
    fn note_key(&mut self, key: Once, field: &str) -> u32 {
        let Some(text) = key.text else {
            // One that was there and is no text has its fault already.
            if !key.met && self.events.keyless.is_none() {
                self.events.keyless = Some(field.to_owned());
            }
            return NO_KEY;
        };
        if self.events.keys.get(self.last_key as usize).is_some_and(|last| last.text == text) {
            return self.last_key;
        }
        if let Some(place) = self.key_places.get(&text) {
            self.last_key = *place;
            return *place;
        }
        if self.events.keys.len() == limits::REQUEST_BATCHES_MAX {
            let most = limits::REQUEST_BATCHES_MAX;
            self.events.faults.add(field, format!("more than {most} different keys in one request"));
            return NO_KEY;
        }
        let place = self.events.keys.len() as u32;
        self.key_places.insert(text.clone(), place);
        self.events.keys.push(Key { text, field: field.to_owned() });
        self.last_key = place;
        place
    }

    fn time(&mut self, name: &str) -> Result<Option<Time>, SyntaxError> {
        let shape = self.scanner.shape()?;
        let (text, read) = match shape {
            Shape::Null => {
                self.scanner.null()?;
                return Ok(None);
            }
            Shape::String => {
                let text = self.scanner.string()?;
                let text = self.scanner.text(&text.place).into_owned();
                let read = when::read(&text, self.now);
                (text, read)
            }
            Shape::Number => {
                let range = self.scanner.number()?;
                let text = String::from_utf8_lossy(&self.body[range]).into_owned();
                let read = when::of_number(&text);
                (text, read)
            }
            _ => {
                self.scanner.skip()?;
                self.fault(name, format!("must be a date and time or a number, not {}", shape.with_article()));
                return Ok(None);
            }
        };
        read.map(Some).or_else(|why| {
            self.fault(name, not_a_time(&why, &text));
            Ok(None)
        })
    }

    /// Follows a path to its list and reads that; the rest of the body is read over. Not deeper than the path is long.
    fn descend(&mut self, steps: &[Step]) -> Result<Descent, SyntaxError> {
        let shape = self.scanner.shape()?;
        let mut descent = Descent::Missing;
        let mut first = true;
        match (steps.split_first(), shape) {
            (None, Shape::List) => {
                self.list()?;
                return Ok(Descent::Found);
            }
            (None, shape) => {
                self.scanner.skip()?;
                return Ok(Descent::NoList(shape));
            }
            (Some((Step::Name(wanted), rest)), Shape::Object) => {
                self.scanner.object()?;
                let mut met = false;
                while let Some(name) = self.scanner.key(&mut first)? {
                    if *name != *wanted.as_bytes() {
                        self.scanner.skip()?;
                    } else if met {
                        self.scanner.skip()?;
                        self.events.faults.add("path", format!("{wanted} is given twice"));
                    } else {
                        met = true;
                        descent = self.descend(rest)?;
                    }
                }
            }
            (Some((Step::Index(wanted), rest)), Shape::List) => {
                self.scanner.list()?;
                let mut index = 0;
                while self.scanner.item(&mut first)? {
                    if index == *wanted {
                        descent = self.descend(rest)?;
                    } else {
                        self.scanner.skip()?;
                    }
                    index += 1;
                }
            }
            (Some(_), _) => {
                self.scanner.skip()?;
            }
        }
        Ok(descent)
    }
}
