//! `replay`, which is ours: whole envelopes, as they came out of a log here or at Oracle, go into a log again.
//!
//! The body is a JSON list of envelopes, or one after the other, as NDJSON is. What `oracle` says of where a record is kept is
//! written anew; every other member of an envelope stays as it was sent, byte for byte.

use std::borrow::Cow;
use std::ops::Range;

use event::{BatchId, Time, limits};

use super::Asked;
use super::envelope::{self, Data, KEPT_KEYS};
use super::records::{self, ENVELOPE_BYTES_MAX, Stop, Target, Written, count_key, shown, string, time};
use crate::json::{Scanner, Shape, Text};
use crate::{Cause, Intake, Refusal};

pub(super) fn work_bytes(body: &[u8]) -> usize {
    records::work_bytes(body.len(), envelopes_of(body))
}

/// How many envelopes a body can have: each has its source.
fn envelopes_of(body: &[u8]) -> usize {
    count_key(body, "source")
}

impl Asked<'_> {
    pub(super) fn replay(&self, log: &str, next_id: &mut dyn FnMut() -> BatchId) -> Result<Intake, Refusal> {
        let target = self.target(log)?;
        let body = &self.request.body;
        let mut kept = Vec::new();
        target.kept().write_members(&mut kept);
        debug_assert!(kept.len() < ENVELOPE_BYTES_MAX / 2);
        let envelopes = envelopes_of(body);
        let capacity = records::WRITTEN_BYTES_MAX.min(body.len() + envelopes * kept.len());
        let mut reading = Reading {
            scanner: Scanner::new(body),
            body,
            target: &target,
            kept,
            now: self.now,
            now_text: self.now.to_string(),
            written: Written::with_capacity(capacity),
            foreseen: envelopes,
            next_id,
        };
        let read = reading.all();
        let written = reading.written;
        self.commit(&target, read, written)
    }
}

struct Reading<'a> {
    scanner: Scanner<'a>,
    body: &'a [u8],
    target: &'a Target,
    /// What `oracle` says of every record.
    kept: Vec<u8>,
    now: Time,
    now_text: String,
    written: Written,
    /// How many envelopes may still come: as many as were foreseen.
    foreseen: usize,
    next_id: &'a mut dyn FnMut() -> BatchId,
}

/// What `data` of an envelope is.
enum Said {
    Object(Range<usize>),
    Text(Text),
}

impl<'a> Reading<'a> {
    fn all(&mut self) -> Result<(), Stop> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        if self.scanner.shape()? == Shape::List {
            self.scanner.list()?;
            let mut first = true;
            while self.scanner.item(&mut first)? {
                self.envelope()?;
            }
            self.scanner.end()?;
        } else {
            while self.scanner.end().is_err() {
                self.envelope()?;
            }
        }
        Ok(())
    }

    fn envelope(&mut self) -> Result<(), Stop> {
        let index = self.written.records;
        let at = |key: &str| format!("[{index}].{key}");
        self.written.records += 1;
        let shape = self.scanner.shape()?;
        if shape != Shape::Object {
            self.skip()?;
            self.written.faults.add(format!("[{index}]"), format!("must be an object, not {}", shape.with_article()));
            return Ok(());
        }
        if self.written.records > limits::OCI_ENTRIES_MAX {
            let message = format!("The request has more than the {} records allowed.", limits::OCI_ENTRIES_MAX);
            return Err(Stop::Refused(Refusal::new(Cause::TooLarge, message)));
        }
        self.scanner.object()?;
        let mut first = true;
        let before = self.written.faults.count;
        // Those that a record must have, or that we give it.
        let mut id: Option<Option<Text>> = None;
        let mut source: Option<Option<Text>> = None;
        let mut kind: Option<Option<Text>> = None;
        let mut when: Option<Option<Text>> = None;
        let mut version: Option<Option<Text>> = None;
        let mut data: Option<Said> = None;
        let mut oracle: Option<Vec<(Cow<'a, [u8]>, Range<usize>)>> = None;
        let mut others: Vec<(Cow<'a, [u8]>, Range<usize>)> = Vec::new();
        while let Some(key) = self.scanner.key(&mut first)? {
            let place = match &*key {
                b"id" => &mut id,
                b"source" => &mut source,
                b"type" => &mut kind,
                b"time" => &mut when,
                b"specversion" => &mut version,
                b"data" => {
                    if data.is_some() {
                        self.written.faults.add(at("data"), "stands there twice");
                    }
                    data = self.data(&|| at("data"))?;
                    continue;
                }
                b"oracle" => {
                    if oracle.is_some() {
                        self.written.faults.add(at("oracle"), "stands there twice");
                    }
                    oracle = Some(self.oracle(&|| at("oracle"))?);
                    continue;
                }
                _ => {
                    let value = self.value(&|| at(&shown(&key)))?;
                    others.push((key, value));
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
        let is_clean = faults.count == before;
        let (source, kind) = (source.flatten(), kind.flatten());
        for (key, value) in [("source", &source), ("type", &kind)] {
            if value.is_none() && is_clean {
                faults.add(at(key), super::form::MISSING);
            }
        }
        if data.is_none() && is_clean {
            faults.add(at("data"), super::form::MISSING);
        }
        let when = when.flatten();
        let time_of_record = match &when {
            Some(text) => time(&self.scanner, &text.place, &|| at("time"), faults),
            None => Some(self.now),
        };
        let (Some(source), Some(kind), Some(data), Some(time)) = (source, kind, data, time_of_record) else {
            return Ok(());
        };
        let Some(foreseen) = self.foreseen.checked_sub(1) else {
            // Room was taken by how often the key stands in the body.
            let message = format!("{}: write the key \"source\" without escapes.", at("source"));
            return Err(Stop::Refused(Refusal::invalid(message)));
        };
        self.foreseen = foreseen;
        if !faults.is_empty() {
            return Ok(());
        }
        let (scanner, body) = (&self.scanner, self.body);
        let kind_text = scanner.text(&kind.place);
        let (id, version, oracle) = (id.flatten(), version.flatten(), oracle.unwrap_or_default());
        let (kept, now) = (&self.kept, &self.now_text);
        let write = |own_id: &mut dyn FnMut() -> String, out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"specversion\":");
            raw_or(version.as_ref(), "1.0", body, out);
            out.extend_from_slice(b",\"id\":");
            match &id {
                Some(id) => raw_or(Some(id), "", body, out),
                None => envelope::text(&own_id(), out),
            }
            for (key, text) in [("source", &source), ("type", &kind)] {
                out.push(b',');
                envelope::text(key, out);
                out.push(b':');
                raw_or(Some(text), "", body, out);
            }
            out.extend_from_slice(b",\"time\":");
            raw_or(when.as_ref(), now, body, out);
            for member in &others {
                out.push(b',');
                write_member(member, body, out);
            }
            out.extend_from_slice(b",\"data\":");
            match &data {
                Said::Object(range) => out.extend_from_slice(&body[range.clone()]),
                Said::Text(text) => {
                    Data::of_quoted(&scanner.text(&text.place), &body[text.raw.clone()]).write(out);
                }
            }
            out.extend_from_slice(b",\"oracle\":{");
            out.extend_from_slice(kept);
            for member in &oracle {
                out.push(b',');
                write_member(member, body, out);
            }
            out.extend_from_slice(b"}}");
        };
        self.written.add(self.target, &kind_text, time, self.next_id, write).map_err(Stop::Refused)
    }

    /// The value of `data`: an object as it stands, or a text.
    fn data(&mut self, field: &dyn Fn() -> String) -> Result<Option<Said>, Stop> {
        let shape = self.scanner.shape()?;
        Ok(match shape {
            Shape::Object => Some(Said::Object(self.value(field)?)),
            Shape::String => string(&mut self.scanner, field, &mut self.written.faults)?.map(Said::Text),
            other => {
                self.skip()?;
                let description = format!("must be an object or a string, not {}", other.with_article());
                self.written.faults.add(field(), description);
                None
            }
        })
    }

    /// The members of `oracle` that are not ours to write.
    fn oracle(&mut self, field: &dyn Fn() -> String) -> Result<Vec<(Cow<'a, [u8]>, Range<usize>)>, Stop> {
        let shape = self.scanner.shape()?;
        if shape == Shape::Null {
            self.scanner.null()?;
            return Ok(Vec::new());
        }
        if shape != Shape::Object {
            self.skip()?;
            self.written.faults.add(field(), format!("must be an object, not {}", shape.with_article()));
            return Ok(Vec::new());
        }
        self.scanner.object()?;
        let (mut first, mut members) = (true, Vec::new());
        while let Some(key) = self.scanner.key(&mut first)? {
            let value = self.value(field)?;
            if !KEPT_KEYS.iter().any(|ours| ours.as_bytes() == &*key) {
                members.push((key, value));
            }
        }
        Ok(members)
    }

    /// Where a value of any kind stands; texts in it that cannot be kept are a fault.
    fn value(&mut self, field: &dyn Fn() -> String) -> Result<Range<usize>, Stop> {
        let range = self.scanner.skip()?;
        if let Some(unclean) = self.scanner.take_unclean() {
            self.written.faults.add(field(), format!("has a string that {}", unclean.describe()));
        } else if self.scanner.take_large_number() && envelope::is_unreadable(&self.body[range.clone()]) {
            self.written.faults.add(field(), "has a number that is out of range");
        }
        Ok(range)
    }

    fn skip(&mut self) -> Result<(), Stop> {
        self.scanner.skip()?;
        self.scanner.take_unclean();
        Ok(())
    }
}

/// A string as it was sent, or this where there is none.
fn raw_or(text: Option<&Text>, otherwise: &str, body: &[u8], out: &mut Vec<u8>) {
    match text {
        Some(text) => {
            out.push(b'"');
            out.extend_from_slice(&body[text.raw.clone()]);
            out.push(b'"');
        }
        None => envelope::text(otherwise, out),
    }
}

/// A member as it was sent.
fn write_member((key, value): &(Cow<'_, [u8]>, Range<usize>), body: &[u8], out: &mut Vec<u8>) {
    envelope::text(&String::from_utf8_lossy(key), out);
    out.push(b':');
    out.extend_from_slice(&body[value.clone()]);
}
