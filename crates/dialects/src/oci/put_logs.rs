//! `put-logs`: batches of entries, each of which becomes a record in its envelope (contracts/oci.md §3.3).
//!
//! The body is scanned once; texts without escapes are never copied but into the record. What a batch says of its entries
//! may come behind them, so a batch is written when it has ended.

use event::{BatchId, Time, limits};

use super::Asked;
use super::envelope::{Data, Mold};
use super::records::{self, ENVELOPE_BYTES_MAX, Stop, Target, Written, count_key, shown, string, time};
use crate::json::{Place, Scanner, Shape, SyntaxError, Text};
use crate::{Cause, Intake, Refusal};

/// How long an envelope is about, without what is said of all entries of a batch.
const ENVELOPE_BYTES: usize = 640;

pub(super) fn work_bytes(body: &[u8]) -> usize {
    records::work_bytes(body.len(), entries_of(body))
}

/// How many entries a body can have: each has its data.
fn entries_of(body: &[u8]) -> usize {
    count_key(body, "data")
}

impl Asked<'_> {
    pub(super) fn push(&self, log: &str, next_id: &mut dyn FnMut() -> BatchId) -> Result<Intake, Refusal> {
        let target = self.target(log)?;
        let body = &self.request.body;
        let capacity = records::WRITTEN_BYTES_MAX.min(body.len() + entries_of(body) * ENVELOPE_BYTES);
        let mut reading = Reading {
            scanner: Scanner::new(body),
            body,
            target: &target,
            now: self.now,
            written: Written::with_capacity(capacity),
            foreseen: entries_of(body),
            next_id,
        };
        let read = reading.body();
        let written = reading.written;
        self.commit(&target, read, written)
    }
}

struct Reading<'a> {
    scanner: Scanner<'a>,
    body: &'a [u8],
    target: &'a Target,
    now: Time,
    written: Written,
    /// How many entries may still come: as many as were foreseen.
    foreseen: usize,
    next_id: &'a mut dyn FnMut() -> BatchId,
}

/// An entry, until its batch has ended.
struct Entry {
    data: Text,
    id: Option<Place>,
    time: Option<(Place, Time)>,
}

impl Reading<'_> {
    fn body(&mut self) -> Result<(), Stop> {
        if self.scanner.shape()? != Shape::Object {
            return Err(Stop::Refused(Refusal::new(Cause::Unparsable, "The body is JSON, but no object.")));
        }
        self.scanner.object()?;
        let (mut first, mut version, mut has_batches) = (true, None, false);
        while let Some(key) = self.scanner.key(&mut first)? {
            match &*key {
                b"specversion" if version.is_none() => {
                    let field = || "specversion".to_owned();
                    version = Some(string(&mut self.scanner, &field, &mut self.written.faults)?);
                }
                b"logEntryBatches" if !has_batches => {
                    has_batches = true;
                    self.batches()?;
                }
                key => {
                    let key = shown(key);
                    self.unknown(key, &["specversion", "logEntryBatches"])?;
                }
            }
        }
        self.scanner.end()?;
        match version.flatten() {
            Some(version) if self.scanner.text(&version.place) == "1.0" => {}
            Some(_) => self.written.faults.add("specversion", "must be \"1.0\""),
            None => self.written.faults.add("specversion", super::form::MISSING),
        }
        if !has_batches {
            self.written.faults.add("logEntryBatches", super::form::MISSING);
        }
        Ok(())
    }

    fn batches(&mut self) -> Result<(), Stop> {
        let shape = self.scanner.shape()?;
        if shape != Shape::List {
            self.scanner.skip()?;
            self.scanner.take_unclean();
            let faults = &mut self.written.faults;
            faults.add("logEntryBatches", format!("must be a list, not {}", shape.with_article()));
            return Ok(());
        }
        self.scanner.list()?;
        let (mut first, mut index) = (true, 0);
        while self.scanner.item(&mut first)? {
            self.batch(index)?;
            index += 1;
        }
        Ok(())
    }

    fn batch(&mut self, batch: usize) -> Result<(), Stop> {
        let at = |key: &str| format!("logEntryBatches[{batch}].{key}");
        let shape = self.scanner.shape()?;
        if shape != Shape::Object {
            self.scanner.skip()?;
            self.scanner.take_unclean();
            let field = format!("logEntryBatches[{batch}]");
            self.written.faults.add(field, format!("must be an object, not {}", shape.with_article()));
            return Ok(());
        }
        self.scanner.object()?;
        let mut first = true;
        let mut source: Option<Option<Text>> = None;
        let mut kind: Option<Option<Text>> = None;
        let mut subject: Option<Option<Text>> = None;
        let mut default_time: Option<Option<Text>> = None;
        let mut entries: Option<Vec<Entry>> = None;
        let before = self.written.faults.count;
        while let Some(key) = self.scanner.key(&mut first)? {
            let place = match &*key {
                b"source" => &mut source,
                b"type" => &mut kind,
                b"subject" => &mut subject,
                b"defaultlogentrytime" => &mut default_time,
                b"entries" if entries.is_none() => {
                    entries = Some(self.entries(batch)?);
                    continue;
                }
                key => {
                    let key = at(&shown(key));
                    self.unknown(key, &["source", "type", "subject", "defaultlogentrytime", "entries"])?;
                    continue;
                }
            };
            let field = || at(&shown(&key));
            if place.is_some() {
                self.written.faults.add(field(), "stands there twice");
            }
            *place = Some(string(&mut self.scanner, &field, &mut self.written.faults)?);
        }
        let (source, kind, subject) = (source.flatten(), kind.flatten(), subject.flatten());
        let faults = &mut self.written.faults;
        let time_field = || at("defaultlogentrytime");
        let default_time = default_time.flatten();
        let default_time = default_time
            .and_then(|text| Some((time(&self.scanner, &text.place, &time_field, faults)?, text.place)))
            .map(|(time, place)| (place, time));
        // What is said to be missing must not have been there with a fault.
        let is_clean = faults.count == before;
        for (key, value) in [("source", &source), ("type", &kind)] {
            match value {
                Some(text) if self.scanner.text(&text.place).is_empty() => faults.add(at(key), "is empty"),
                None if is_clean => faults.add(at(key), super::form::MISSING),
                _ => {}
            }
        }
        if entries.is_none() && is_clean {
            faults.add(at("entries"), super::form::MISSING);
        }
        let (Some(source), Some(kind), Some(entries)) = (source, kind, entries) else { return Ok(()) };
        if !faults.is_empty() {
            return Ok(());
        }
        self.write(batch, &source, &kind, subject.as_ref(), default_time.as_ref(), &entries)
    }

    fn entries(&mut self, batch: usize) -> Result<Vec<Entry>, Stop> {
        let shape = self.scanner.shape()?;
        if shape != Shape::List {
            self.scanner.skip()?;
            self.scanner.take_unclean();
            let field = format!("logEntryBatches[{batch}].entries");
            self.written.faults.add(field, format!("must be a list, not {}", shape.with_article()));
            return Ok(Vec::new());
        }
        self.scanner.list()?;
        let mut entries = Vec::new();
        let (mut first, mut index) = (true, 0);
        while self.scanner.item(&mut first)? {
            self.written.records += 1;
            if self.written.records > limits::OCI_ENTRIES_MAX {
                let most = limits::OCI_ENTRIES_MAX;
                let message = format!("The request has more than the {most} entries allowed.");
                return Err(Stop::Refused(Refusal::new(Cause::TooLarge, message)));
            }
            entries.extend(self.entry(batch, index)?);
            index += 1;
        }
        Ok(entries)
    }

    /// An entry; `None` if it has faults.
    fn entry(&mut self, batch: usize, index: usize) -> Result<Option<Entry>, Stop> {
        let at = |key: &str| format!("logEntryBatches[{batch}].entries[{index}].{key}");
        let shape = self.scanner.shape()?;
        if shape != Shape::Object {
            self.scanner.skip()?;
            self.scanner.take_unclean();
            let field = format!("logEntryBatches[{batch}].entries[{index}]");
            self.written.faults.add(field, format!("must be an object, not {}", shape.with_article()));
            return Ok(None);
        }
        self.scanner.object()?;
        let mut first = true;
        let mut data: Option<Option<Text>> = None;
        let mut id: Option<Option<Text>> = None;
        let mut when: Option<Option<Text>> = None;
        let before = self.written.faults.count;
        while let Some(key) = self.scanner.key(&mut first)? {
            let place = match &*key {
                b"data" => &mut data,
                b"id" => &mut id,
                b"time" => &mut when,
                key => {
                    let key = at(&shown(key));
                    self.unknown(key, &["data", "id", "time"])?;
                    continue;
                }
            };
            let field = || at(&shown(&key));
            if place.is_some() {
                self.written.faults.add(field(), "stands there twice");
            }
            *place = Some(string(&mut self.scanner, &field, &mut self.written.faults)?);
        }
        let faults = &mut self.written.faults;
        let when = match when.flatten() {
            Some(text) => time(&self.scanner, &text.place, &|| at("time"), faults).map(|time| (text.place, time)),
            None => None,
        };
        let id = id.flatten().map(|text| text.place).filter(|place| !self.scanner.text(place).is_empty());
        match data.flatten() {
            Some(data) => {
                let Some(foreseen) = self.foreseen.checked_sub(1) else {
                    // Room was taken by how often the key stands in the body.
                    let message = format!("{}: write the key \"data\" without escapes.", at("data"));
                    return Err(Stop::Refused(Refusal::invalid(message)));
                };
                self.foreseen = foreseen;
                let bytes = match &data.place {
                    Place::Body(range) | Place::Side(range) => range.len(),
                };
                if bytes > limits::OCI_ENTRY_BYTES_MAX {
                    let most = limits::OCI_ENTRY_BYTES_MAX;
                    faults.add(at("data"), format!("has {bytes} bytes, more than the {most} allowed"));
                }
                Ok((faults.count == before).then_some(Entry { data, id, time: when }))
            }
            None => {
                if faults.count == before {
                    faults.add(at("data"), super::form::MISSING);
                }
                Ok(None)
            }
        }
    }

    fn write(
        &mut self,
        batch: usize,
        source: &Text,
        kind: &Text,
        subject: Option<&Text>,
        default_time: Option<&(Place, Time)>,
        entries: &[Entry],
    ) -> Result<(), Stop> {
        let scanner = &self.scanner;
        let (source, kind) = (scanner.text(&source.place), scanner.text(&kind.place));
        let subject = subject.map(|text| scanner.text(&text.place));
        let mold = Mold::new(&source, &kind, subject.as_deref(), &self.target.kept());
        if mold.bytes() + ENVELOPE_BYTES / 2 > ENVELOPE_BYTES_MAX {
            let field = format!("logEntryBatches[{batch}]");
            let over = mold.bytes() + ENVELOPE_BYTES / 2 - ENVELOPE_BYTES_MAX;
            let description = format!(
                "source, type and subject together are {over} bytes too long: they are kept with every entry, in up to \
                 {ENVELOPE_BYTES_MAX} bytes with what else is said of it"
            );
            self.written.faults.add(field, description);
            return Ok(());
        }
        let now = self.now.to_string();
        for entry in entries {
            let data = scanner.text(&entry.data.place);
            let raw = &self.body[entry.data.raw.clone()];
            let (text, time) = match entry.time.as_ref().or(default_time) {
                Some((place, time)) => (scanner.text(place), *time),
                None => (now.as_str().into(), self.now),
            };
            let id = entry.id.as_ref().map(|place| scanner.text(place));
            let add = |own_id: &mut dyn FnMut() -> String, out: &mut Vec<u8>| {
                let id = id.unwrap_or_else(|| own_id().into());
                mold.write(&id, &text, Data::of_quoted(&data, raw), out);
            };
            self.written.add(self.target, &kind, time, self.next_id, add).map_err(Stop::Refused)?;
        }
        Ok(())
    }

    /// Passes over a key that nobody knows, or that stood there before: a fault.
    fn unknown(&mut self, field: String, known: &[&str]) -> Result<(), SyntaxError> {
        self.scanner.skip()?;
        self.scanner.take_unclean();
        let description = format!("is unknown, or stands there twice; known are {}", known.join(", "));
        self.written.faults.add(field, description);
        Ok(())
    }
}
