//! One pass over a body: what the batch says about itself, and where its records lie. Decides nothing about instances
//! or log types; notes every fault with the field that it is on.
//!
//! Tolerated as contracts/chronicle.md §0.1 asks: camelCase and snake_case keys mixed, `null` for unset, one object
//! where a list is due, numbers as strings and the other way round. Keys that we do not know are skipped: what senders
//! add is theirs.

use std::borrow::Cow;

use bytes::Bytes;
use event::{Kind, Label, Time, limits};

use crate::chronicle_batch::{self, Gathering, Place};
use crate::faults::Faults;
use crate::json::{Scanner, Shape, SyntaxError, Text};
use crate::snapshot::Snapshot;

/// What a body says.
pub(super) struct Body {
    pub(super) customer_id: Option<String>,
    /// `customer_id` was given, but as something that is no text; the fault is noted.
    pub(super) customer_id_faulty: bool,
    pub(super) log_type: Option<String>,
    /// As for `customer_id`.
    pub(super) log_type_faulty: bool,
    pub(super) namespace: Option<String>,
    pub(super) labels: Vec<Label>,
    /// Whether the list of records was there at all.
    pub(super) has_items: bool,
    /// The records.
    pub(super) items: Gathering,
    /// Texts that had escapes.
    pub(super) side: Bytes,
    /// What is wrong with the batch as a whole.
    pub(super) head_faults: Faults,
}

/// What the list of records is called.
pub(super) fn list_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Raw => "entries",
        Kind::Udm => "events",
        Kind::Entity => "entities",
    }
}

/// Reads a body of this kind. With `quarantine`, records with faults are gathered with their reasons.
pub(super) fn read(kind: Kind, body: &[u8], snapshot: &Snapshot, quarantine: bool) -> Result<Body, SyntaxError> {
    let reader = Reader {
        scanner: Scanner::new(body),
        body,
        kind,
        snapshot,
        out: Body {
            customer_id: None,
            customer_id_faulty: false,
            log_type: None,
            log_type_faulty: false,
            namespace: None,
            labels: Vec::new(),
            has_items: false,
            items: Gathering::new(list_name(kind), quarantine),
            side: Bytes::new(),
            head_faults: Faults::default(),
        },
        first_time: None,
    };
    reader.read()
}

struct Reader<'a> {
    scanner: Scanner<'a>,
    body: &'a [u8],
    kind: Kind,
    snapshot: &'a Snapshot,
    out: Body,
    /// The first kind of time in the batch, and the entry that it was met in.
    first_time: Option<(TimeKind, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TimeKind {
    Epoch,
    Rfc3339,
}

impl TimeKind {
    fn field(self) -> &'static str {
        match self {
            TimeKind::Epoch => "ts_epoch_microseconds",
            TimeKind::Rfc3339 => "ts_rfc3339",
        }
    }
}

/// The fields at the top of a body. The numbers are bits of the set of those that were met.
const CUSTOMER_ID: u8 = 1;
const LOG_TYPE: u8 = 2;
const NAMESPACE: u8 = 4;
const LABELS: u8 = 8;
const ITEMS: u8 = 16;

impl Reader<'_> {
    fn read(mut self) -> Result<Body, SyntaxError> {
        let mut first = true;
        let mut met = 0;
        self.scanner.object()?;
        while let Some(key) = self.scanner.key(&mut first)? {
            let (field, name) = match &*key {
                b"customer_id" | b"customerId" => (CUSTOMER_ID, "customer_id"),
                b"log_type" | b"logType" => (LOG_TYPE, "log_type"),
                b"namespace" => (NAMESPACE, "namespace"),
                b"labels" => (LABELS, "labels"),
                key if key == list_name(self.kind).as_bytes() => (ITEMS, list_name(self.kind)),
                _ => {
                    self.scanner.skip()?;
                    continue;
                }
            };
            let faults = &mut self.out.head_faults;
            let Some(shape) = chronicle_batch::head_field(&mut self.scanner, faults, &mut met, field, name)? else {
                continue;
            };
            match field {
                CUSTOMER_ID => {
                    let text = self.head_text(name, shape, usize::MAX)?;
                    self.out.customer_id_faulty = text.is_none();
                    self.out.customer_id = text.filter(|text| !text.is_empty());
                }
                LOG_TYPE => {
                    let text = self.head_text(name, shape, usize::MAX)?;
                    self.out.log_type_faulty = text.is_none();
                    self.out.log_type = text.filter(|text| !text.is_empty());
                }
                NAMESPACE => self.out.namespace = self.head_text(name, shape, limits::LABEL_BYTES_MAX)?,
                LABELS => self.labels(shape)?,
                _ => self.items(shape)?,
            }
        }
        self.scanner.end()?;
        self.out.side = self.scanner.into_side().into();
        Ok(self.out)
    }

    /// A text at the top or in a label; see [`chronicle_batch::head_text`].
    fn head_text(&mut self, field: &str, shape: Shape, bytes_max: usize) -> Result<Option<String>, SyntaxError> {
        chronicle_batch::head_text(&mut self.scanner, &mut self.out.head_faults, field, shape, bytes_max)
    }

    fn labels(&mut self, shape: Shape) -> Result<(), SyntaxError> {
        let mut index = 0;
        if shape != Shape::List {
            return self.label(index, shape);
        }
        let mut first = true;
        self.scanner.list()?;
        while self.scanner.item(&mut first)? {
            let shape = self.scanner.shape()?;
            if index < limits::LABELS_MAX {
                self.label(index, shape)?;
            } else {
                self.scanner.skip()?;
            }
            index += 1;
        }
        if index > limits::LABELS_MAX {
            self.out.head_faults.add("labels", format!("{index} labels, more than the {} allowed", limits::LABELS_MAX));
        }
        let bytes = Label::bytes_of(&self.out.labels);
        if bytes > limits::LABELS_BYTES_MAX {
            let description = format!("{bytes} bytes, more than the {} allowed", limits::LABELS_BYTES_MAX);
            self.out.head_faults.add("labels", description);
        }
        Ok(())
    }

    fn label(&mut self, index: usize, shape: Shape) -> Result<(), SyntaxError> {
        if shape != Shape::Object {
            self.scanner.skip()?;
            let description = format!("must be an object with key and value, not {}", shape.with_article());
            self.out.head_faults.add(format!("labels[{index}]"), description);
            return Ok(());
        }
        let faults_before = self.out.head_faults.count;
        let mut label = Label { key: String::new(), value: String::new(), rbac_enabled: false };
        let mut first = true;
        self.scanner.object()?;
        while let Some(key) = self.scanner.key(&mut first)? {
            let shape = self.scanner.shape()?;
            match &*key {
                _ if shape == Shape::Null => self.scanner.null()?,
                b"key" => {
                    let text = self.head_text(&format!("labels[{index}].key"), shape, limits::LABEL_BYTES_MAX)?;
                    label.key = text.unwrap_or_default();
                }
                b"value" => {
                    let text = self.head_text(&format!("labels[{index}].value"), shape, limits::LABEL_BYTES_MAX)?;
                    label.value = text.unwrap_or_default();
                }
                b"rbac_enabled" | b"rbacEnabled" => label.rbac_enabled = self.flag(index, shape)?,
                _ => {
                    self.scanner.skip()?;
                }
            }
        }
        if self.out.head_faults.count > faults_before {
            return Ok(());
        }
        if label.key.is_empty() {
            self.out.head_faults.add(format!("labels[{index}].key"), "missing");
        } else {
            self.out.labels.push(label);
        }
        Ok(())
    }

    /// `true`, or `"true"` as the documentation of the old API writes it.
    fn flag(&mut self, index: usize, shape: Shape) -> Result<bool, SyntaxError> {
        let value = match shape {
            Shape::Bool => return self.scanner.bool(),
            Shape::String => {
                let text = self.scanner.string()?;
                match &*self.scanner.text(&text.place) {
                    "true" => Some(true),
                    "false" | "" => Some(false),
                    _ => None,
                }
            }
            _ => {
                self.scanner.skip()?;
                None
            }
        };
        if value.is_none() {
            self.out.head_faults.add(format!("labels[{index}].rbac_enabled"), "must be true or false");
        }
        Ok(value.unwrap_or_default())
    }

    fn items(&mut self, shape: Shape) -> Result<(), SyntaxError> {
        self.out.has_items = true;
        if shape != Shape::List {
            return self.item(shape);
        }
        let mut first = true;
        self.scanner.list()?;
        while self.scanner.item(&mut first)? {
            let shape = self.scanner.shape()?;
            self.item(shape)?;
        }
        Ok(())
    }

    fn item(&mut self, shape: Shape) -> Result<(), SyntaxError> {
        self.out.items.begin();
        let start = self.scanner.at();
        let (place, time) = match (shape, self.kind) {
            (Shape::Object, Kind::Raw) => self.entry()?,
            (Shape::Object, _) => (Some(self.udm()?), None),
            _ => {
                self.scanner.skip()?;
                let inside = if self.kind == Kind::Raw { " with log_text" } else { "" };
                self.out.items.fault("", format!("must be an object{inside}, not {}", shape.with_article()));
                (None, None)
            }
        };
        let raw = start..self.scanner.at();
        self.out.items.end(place, raw, time, None);
        Ok(())
    }

    /// An entry of raw logs: its text and its time.
    fn entry(&mut self) -> Result<(Option<Place>, Option<Time>), SyntaxError> {
        let mut text: Option<Text> = None;
        let mut has_text = false;
        let mut time: Option<(TimeKind, Option<Time>)> = None;
        let mut first = true;
        self.scanner.object()?;
        while let Some(key) = self.scanner.key(&mut first)? {
            let time_kind = match &*key {
                b"log_text" | b"logText" => None,
                b"ts_epoch_microseconds" | b"tsEpochMicroseconds" => Some(TimeKind::Epoch),
                b"ts_rfc3339" | b"tsRfc3339" => Some(TimeKind::Rfc3339),
                _ => {
                    self.scanner.skip()?;
                    continue;
                }
            };
            let shape = self.scanner.shape()?;
            match (time_kind, shape) {
                (_, Shape::Null) => self.scanner.null()?,
                (None, _) if has_text => {
                    self.scanner.skip()?;
                    self.out.items.fault(".log_text", "given twice");
                }
                (None, Shape::String) => {
                    has_text = true;
                    text = Some(self.scanner.string()?);
                }
                (None, _) => {
                    has_text = true;
                    self.scanner.skip()?;
                    self.out.items.fault(".log_text", format!("must be a string, not {}", shape.with_article()));
                }
                (Some(kind), _) => {
                    let value = self.time(kind, shape)?;
                    match time {
                        Some((other, _)) if other == kind => {
                            self.out.items.fault(&format!(".{}", kind.field()), "given twice")
                        }
                        Some(_) => {
                            self.out.items.fault("", "has both ts_epoch_microseconds and ts_rfc3339; send one of them")
                        }
                        None => time = Some((kind, value)),
                    }
                }
            }
        }
        if !has_text {
            self.out.items.fault(".log_text", "missing");
        }
        let index = self.out.items.count;
        match (time, self.first_time) {
            (Some((kind, _)), None) => self.first_time = Some((kind, index)),
            (Some((kind, _)), Some((used, entry))) if kind != used => {
                let description = format!("the batch uses {} since entries[{entry}]; send one kind", used.field());
                self.out.items.fault(&format!(".{}", kind.field()), description);
            }
            _ => {}
        }
        let time = time.and_then(|(_, time)| time);
        let Some(text) = text else { return Ok((None, time)) };
        match text.unclean {
            None => Ok((Some(text.place), time)),
            Some(unclean) => {
                self.out.items.fault(".log_text", unclean.describe());
                // What was unescaped with half a pair replaced is not what the sender meant: keep what it wrote.
                let is_replaced = unclean == crate::json::Unclean::LoneSurrogate;
                Ok((Some(if is_replaced { Place::Body(text.raw) } else { text.place }), time))
            }
        }
    }

    fn time(&mut self, kind: TimeKind, shape: Shape) -> Result<Option<Time>, SyntaxError> {
        let text = match (kind, shape) {
            (_, Shape::String) => {
                let text = self.scanner.string()?;
                self.scanner.text(&text.place).into_owned()
            }
            (TimeKind::Epoch, Shape::Number) => {
                let range = self.scanner.number()?;
                String::from_utf8_lossy(&self.body[range]).into_owned()
            }
            _ => {
                self.scanner.skip()?;
                let wanted = if kind == TimeKind::Epoch { "a number or a string of digits" } else { "a string" };
                let description = format!("must be {wanted}, not {}", shape.with_article());
                self.out.items.fault(&format!(".{}", kind.field()), description);
                return Ok(None);
            }
        };
        let parsed = match kind {
            TimeKind::Epoch => parse_micros(&text),
            TimeKind::Rfc3339 => Time::parse_rfc3339(&text).map_err(|error| Cow::Owned(error.to_string())),
        };
        match parsed {
            Ok(time) => Ok(Some(time)),
            Err(why) => {
                let shown: String = text.chars().take(60).collect();
                self.out.items.fault(&format!(".{}", kind.field()), format!("{why} ({shown:?})"));
                Ok(None)
            }
        }
    }

    /// An event or entity: kept as it stands, checked against the schema.
    fn udm(&mut self) -> Result<Place, SyntaxError> {
        self.scanner.take_unclean();
        let raw = self.scanner.skip()?;
        let unclean = self.scanner.take_unclean();
        self.out.items.check_udm(self.kind, "", &self.body[raw.clone()], unclean, self.snapshot);
        Ok(Place::Body(raw))
    }
}

/// Microseconds since the epoch as an unsigned 64-bit number of proto3 JSON: digits, or a number that is whole though
/// it is written with a fraction or exponent (Python writes a float so).
fn parse_micros(text: &str) -> Result<Time, Cow<'static, str>> {
    const WANTED: &str = "expected whole microseconds since 1970-01-01T00:00:00Z, zero or more";
    let micros = match text.parse::<u64>() {
        Ok(micros) if !text.starts_with('+') => micros,
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => u64::MAX,
        _ => {
            let looks_right = text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
                && text.starts_with(|first: char| first.is_ascii_digit());
            let float = text.parse::<f64>().ok().filter(|_| looks_right).ok_or(WANTED)?;
            // Up to 2^53 a float holds every whole number; beyond, digits would have been lost.
            if float.fract() != 0.0 || !(0.0..=9_007_199_254_740_992.0).contains(&float) {
                return Err(WANTED.into());
            }
            float as u64
        }
    };
    let micros = i64::try_from(micros).map_err(|_| event::TimeError::OutOfRange.to_string())?;
    Time::from_micros(micros).map_err(|error| error.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds() {
        let check = |text: &str, expected: Result<i64, &str>| match (parse_micros(text), expected) {
            (Ok(time), Ok(micros)) => assert_eq!(time.micros(), micros, "{text}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (got, expected) => panic!("{text}: got {got:?}, expected {expected:?}"),
        };
        check("1551188102187000", Ok(1_551_188_102_187_000));
        check("0", Ok(0));
        check("1551188102187000.0", Ok(1_551_188_102_187_000));
        check("1.551188102187e15", Ok(1_551_188_102_187_000));
        check("1e3", Ok(1_000));
        check("1.5", Err("whole microseconds"));
        check("-1", Err("whole microseconds"));
        check("-0", Err("whole microseconds"));
        check("+1", Err("whole microseconds"));
        check("", Err("whole microseconds"));
        check(" 1", Err("whole microseconds"));
        check("NaN", Err("whole microseconds"));
        check("inf", Err("whole microseconds"));
        check("0x10", Err("whole microseconds"));
        check("1e300", Err("whole microseconds"));
        check("18446744073709551615", Err("outside"));
        check("99999999999999999999999", Err("outside"));
        check("9223372036854775", Ok(9_223_372_036_854_775));
        check("9223372036854776", Err("outside"));
    }
}
