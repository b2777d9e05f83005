//! One pass over the body of an import call: what it says of itself, and where its records lie. Decides nothing about
//! instances, log types or forwarders; notes every fault with the field that it is on.
//!
//! Tolerated as contracts/chronicle.md §0.1 and §1.4 ask: both spellings of every key, `null` for unset, one object where
//! a list is due, both base64 alphabets with or without padding, missing times, a redundant parent. Keys that we do not
//! know are skipped, as the older API does.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use event::{Kind, Label, Time, limits};
use serde_json::Value;

use crate::chronicle_batch::{self, Gathering, Place};
use crate::faults::Faults;
use crate::json::{Scanner, Shape, SyntaxError};
use crate::snapshot::Snapshot;

/// What a body says.
pub(super) struct Body {
    /// The parent that it repeats.
    pub(super) parent: Option<String>,
    /// The forwarder that the records came by, as it was named.
    pub(super) forwarder: Option<String>,
    /// The log type of entities; that of logs is in the path.
    pub(super) log_type: Option<String>,
    /// `log_type` was given, but as something that is no text; the fault is noted.
    pub(super) log_type_faulty: bool,
    /// Whether the list of records was there at all.
    pub(super) has_items: bool,
    /// The records.
    pub(super) items: Gathering,
    /// What their `data` stands for.
    pub(super) decoded: Bytes,
    /// For each of `items.list`, which of `groups` it belongs to; empty for events and entities, which have one group.
    pub(super) group_of: Vec<u32>,
    /// What records say of themselves that a batch says of all its records.
    pub(super) groups: Vec<Group>,
    /// What is wrong with the request as a whole.
    pub(super) head_faults: Faults,
}

/// The namespace and labels of some records of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) namespace: Option<String>,
    pub(super) labels: Vec<Label>,
}

impl Group {
    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        label_bytes(self.namespace.as_deref().unwrap_or_default(), &self.labels)
    }
}

/// About how many bytes a namespace and labels take.
pub(super) fn label_bytes(namespace: &str, labels: &[Label]) -> usize {
    namespace.len() + Label::bytes_of(labels)
}

/// The path of the list of records in a body.
pub(super) fn list_path(kind: Kind) -> &'static str {
    match kind {
        Kind::Raw => "inline_source.logs",
        Kind::Udm => "inline_source.events",
        Kind::Entity => "inline_source.entities",
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
            parent: None,
            forwarder: None,
            log_type: None,
            log_type_faulty: false,
            has_items: false,
            items: Gathering::new(list_path(kind), quarantine),
            decoded: Bytes::new(),
            group_of: Vec::new(),
            groups: Vec::new(),
            head_faults: Faults::default(),
        },
        decoded: Vec::new(),
        known: HashMap::new(),
        group_numbers: HashMap::new(),
        has_too_many_groups: false,
        last: None,
    };
    reader.read()
}

struct Reader<'a> {
    scanner: Scanner<'a>,
    body: &'a [u8],
    kind: Kind,
    snapshot: &'a Snapshot,
    out: Body,
    decoded: Vec<u8>,
    /// Groups by the bytes that say them: thousands of logs usually say the same in the same bytes.
    known: HashMap<(&'a [u8], &'a [u8]), Result<u32, LogFault>>,
    /// Groups by what they say, since the same may be said in other bytes: by its place in `out.groups`.
    group_numbers: HashMap<Group, u32>,
    /// Whether there are more of them than a request may have; the fault is noted.
    has_too_many_groups: bool,
    /// The group of the log before.
    last: Option<((&'a [u8], &'a [u8]), u32)>,
}

/// A field of a log and what is wrong with it.
type LogFault = (String, String);

const TOO_MANY_GROUPS: &str = "their namespaces and labels differ in more than 10000 ways; send fewer logs at once";
// Written out because a 'static text cannot hold the number.
const _: () = assert!(limits::REQUEST_BATCHES_MAX == 10_000);

/// proto3 JSON takes both alphabets and does not insist on padding.
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// The fields of an import body. The numbers are bits of the set of those that were met.
const PARENT: u8 = 1;
const SOURCE: u8 = 2;
const FORWARDER: u8 = 4;
const LOG_TYPE: u8 = 8;
const ITEMS: u8 = 16;

impl<'a> Reader<'a> {
    fn read(mut self) -> Result<Body, SyntaxError> {
        let mut first = true;
        let mut met = 0;
        self.scanner.object()?;
        while let Some(key) = self.scanner.key(&mut first)? {
            let (field, name) = match &*key {
                b"parent" => (PARENT, "parent"),
                b"inline_source" | b"inlineSource" => (SOURCE, "inline_source"),
                _ => {
                    self.scanner.skip()?;
                    continue;
                }
            };
            let Some(shape) = self.field(&mut met, field, name)? else { continue };
            match (field, shape) {
                (PARENT, _) => self.out.parent = self.head_text(name, shape)?,
                (_, Shape::Object) => self.source()?,
                (_, shape) => {
                    self.scanner.skip()?;
                    self.out.head_faults.add(name, format!("must be an object, not {}", shape.with_article()));
                }
            }
        }
        self.scanner.end()?;
        self.out.decoded = self.decoded.into();
        Ok(self.out)
    }

    fn source(&mut self) -> Result<(), SyntaxError> {
        let mut first = true;
        let mut met = 0;
        let list = list_path(self.kind).rsplit('.').next().unwrap_or_default();
        self.scanner.object()?;
        while let Some(key) = self.scanner.key(&mut first)? {
            let (field, name) = match &*key {
                b"forwarder" => (FORWARDER, "inline_source.forwarder"),
                b"log_type" | b"logType" => (LOG_TYPE, "inline_source.log_type"),
                key if key == list.as_bytes() => (ITEMS, list_path(self.kind)),
                _ => {
                    self.scanner.skip()?;
                    continue;
                }
            };
            let Some(shape) = self.field(&mut met, field, name)? else { continue };
            match field {
                FORWARDER => self.out.forwarder = self.head_text(name, shape)?.filter(|text| !text.is_empty()),
                LOG_TYPE => {
                    let text = self.head_text(name, shape)?;
                    self.out.log_type_faulty = text.is_none();
                    self.out.log_type = text.filter(|text| !text.is_empty());
                }
                _ => self.items(shape)?,
            }
        }
        Ok(())
    }

    /// See [`chronicle_batch::head_field`].
    fn field(&mut self, met: &mut u8, field: u8, name: &str) -> Result<Option<Shape>, SyntaxError> {
        chronicle_batch::head_field(&mut self.scanner, &mut self.out.head_faults, met, field, name)
    }

    /// See [`chronicle_batch::head_text`].
    fn head_text(&mut self, name: &str, shape: Shape) -> Result<Option<String>, SyntaxError> {
        let faults = &mut self.out.head_faults;
        chronicle_batch::head_text(&mut self.scanner, faults, name, shape, limits::LABEL_BYTES_MAX)
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
        let mut log = Log::default();
        match (shape, self.kind) {
            (Shape::Object, Kind::Raw) => log = self.log()?,
            (Shape::Object, Kind::Udm) => log.place = self.event()?,
            (Shape::Object, Kind::Entity) => log.place = Some(self.udm("")?),
            _ => {
                self.scanner.skip()?;
                self.out.items.fault("", format!("must be an object, not {}", shape.with_article()));
            }
        }
        let kept = self.out.items.list.len();
        self.out.items.end(log.place, start..self.scanner.at(), log.time, log.collected_at);
        if self.kind == Kind::Raw && self.out.items.list.len() > kept {
            self.out.group_of.push(log.group);
        }
        Ok(())
    }

    /// A log: its bytes, its times, and what it says of itself.
    fn log(&mut self) -> Result<Log, SyntaxError> {
        let mut log = Log::default();
        let mut has_data = false;
        let (mut namespace, mut labels): (&[u8], &[u8]) = (b"", b"");
        let mut first = true;
        self.scanner.object()?;
        while let Some(key) = self.scanner.key(&mut first)? {
            let shape = self.scanner.shape()?;
            match &*key {
                _ if shape == Shape::Null => self.scanner.null()?,
                b"data" if has_data => {
                    self.scanner.skip()?;
                    self.out.items.fault(".data", "given twice");
                }
                b"data" => {
                    has_data = true;
                    log.place = self.data(shape)?;
                }
                b"log_entry_time" | b"logEntryTime" => log.time = self.time(".log_entry_time", shape, log.time)?,
                b"collection_time" | b"collectionTime" => {
                    log.collected_at = self.time(".collection_time", shape, log.collected_at)?;
                }
                b"environment_namespace" | b"environmentNamespace" => {
                    namespace = self.raw_once(namespace, ".environment_namespace")?;
                }
                b"labels" => labels = self.raw_once(labels, ".labels")?,
                _ => {
                    self.scanner.skip()?;
                }
            }
        }
        if !has_data {
            self.out.items.fault(".data", "missing");
        }
        if let (Some(time), Some(collected_at)) = (log.time, log.collected_at)
            && collected_at < time
        {
            let description = format!("{collected_at} is before log_entry_time, which is {time}");
            self.out.items.fault(".collection_time", description);
        }
        match self.group(namespace, labels) {
            Ok(group) => log.group = group,
            Err((suffix, description)) => self.out.items.fault(&suffix, description),
        }
        Ok(log)
    }

    /// What a field says, as it stands; `before` is what it said before.
    fn raw_once(&mut self, before: &'a [u8], suffix: &str) -> Result<&'a [u8], SyntaxError> {
        if !before.is_empty() {
            self.out.items.fault(suffix, "given twice");
        }
        let range: Range<usize> = self.scanner.skip()?;
        // Whether the text is clean is looked at once for each group.
        self.scanner.take_unclean();
        Ok(&self.body[range])
    }

    /// The bytes of a log, decoded. They need not be UTF-8: a device may write what it likes.
    fn data(&mut self, shape: Shape) -> Result<Option<Place>, SyntaxError> {
        if shape != Shape::String {
            self.scanner.skip()?;
            self.out.items.fault(".data", format!("must be a string in base64, not {}", shape.with_article()));
            return Ok(None);
        }
        let text = self.scanner.string()?;
        let start = self.decoded.len();
        let encoded = match &text.place {
            Place::Body(range) => Cow::Borrowed(&self.body[range.clone()]),
            side => Cow::Owned(self.scanner.text(side).into_owned().into_bytes()),
        };
        let is_url_safe = memchr::memchr2(b'-', b'_', &encoded).is_some();
        let engine = if is_url_safe { &URL_SAFE } else { &STANDARD };
        match engine.decode_vec(&*encoded, &mut self.decoded) {
            Ok(()) => Ok(Some(Place::Side(start..self.decoded.len()))),
            Err(error) => {
                self.decoded.truncate(start);
                self.out.items.fault(".data", format!("is not valid base64: {}", describe(&error)));
                Ok(None)
            }
        }
    }

    fn time(&mut self, suffix: &str, shape: Shape, before: Option<Time>) -> Result<Option<Time>, SyntaxError> {
        if shape != Shape::String {
            self.scanner.skip()?;
            self.out.items.fault(suffix, format!("must be a string, not {}", shape.with_article()));
            return Ok(None);
        }
        let text = self.scanner.string()?;
        let text = self.scanner.text(&text.place).into_owned();
        if before.is_some() {
            self.out.items.fault(suffix, "given twice");
        }
        match Time::parse_rfc3339(&text) {
            Ok(time) => Ok(Some(time)),
            Err(why) => {
                let shown: String = text.chars().take(60).collect();
                self.out.items.fault(suffix, format!("{why} ({shown:?})"));
                Ok(None)
            }
        }
    }

    /// The group of what these bytes say.
    fn group(&mut self, namespace: &'a [u8], labels: &'a [u8]) -> Result<u32, LogFault> {
        let key = (namespace, labels);
        if let Some((last, group)) = self.last
            && last == key
        {
            return Ok(group);
        }
        let found = match self.known.get(&key) {
            Some(found) => found.clone(),
            None => {
                let made = read_group(namespace, labels).map(|group| {
                    if let Some(number) = self.group_numbers.get(&group) {
                        return *number;
                    }
                    let number = u32::try_from(self.out.groups.len()).expect("the limit is far below");
                    if self.out.groups.len() < limits::REQUEST_BATCHES_MAX {
                        self.out.groups.push(group.clone());
                        self.group_numbers.insert(group, number);
                        return number;
                    }
                    // No log's own fault, so that none is set aside for it.
                    if !self.has_too_many_groups {
                        self.has_too_many_groups = true;
                        self.out.head_faults.add(list_path(self.kind), TOO_MANY_GROUPS);
                    }
                    0
                });
                self.known.insert(key, made.clone());
                made
            }
        };
        if let Ok(group) = found {
            self.last = Some((key, group));
        }
        found
    }

    /// An element of `events`: the event stands in its `udm`.
    fn event(&mut self) -> Result<Option<Place>, SyntaxError> {
        let mut place = None;
        let mut has_udm = false;
        let mut first = true;
        self.scanner.object()?;
        while let Some(key) = self.scanner.key(&mut first)? {
            let shape = self.scanner.shape()?;
            match &*key {
                _ if shape == Shape::Null => self.scanner.null()?,
                b"udm" if has_udm => {
                    self.scanner.skip()?;
                    self.out.items.fault(".udm", "given twice");
                }
                b"udm" => {
                    has_udm = true;
                    place = Some(self.udm(".udm")?);
                }
                _ => {
                    self.scanner.skip()?;
                }
            }
        }
        if !has_udm {
            self.out.items.fault(".udm", "missing; an event stands in a field udm of its own");
        }
        Ok(place)
    }

    /// An event or entity: kept as it stands, checked against the schema.
    fn udm(&mut self, suffix: &str) -> Result<Place, SyntaxError> {
        self.scanner.take_unclean();
        let raw = self.scanner.skip()?;
        let unclean = self.scanner.take_unclean();
        self.out.items.check_udm(self.kind, suffix, &self.body[raw.clone()], unclean, self.snapshot);
        Ok(Place::Body(raw))
    }
}

/// What was read of a record.
#[derive(Default)]
struct Log {
    place: Option<Place>,
    time: Option<Time>,
    collected_at: Option<Time>,
    group: u32,
}

fn describe(error: &base64::DecodeError) -> String {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol, InvalidLength, InvalidPadding};
    match error {
        InvalidByte(at, byte) | InvalidLastSymbol { offset: at, symbol: byte, .. } => {
            let shown =
                if byte.is_ascii_graphic() { format!("'{}'", *byte as char) } else { format!("byte 0x{byte:02x}") };
            format!("{shown} at offset {at}")
        }
        InvalidLength(len) => format!("{len} characters cannot be all of it"),
        InvalidPadding => "wrong padding".to_owned(),
    }
}

fn read_group(namespace: &[u8], labels: &[u8]) -> Result<Group, LogFault> {
    let fault = |field: &str, description: String| (field.to_owned(), description);
    let parse = |field: &str, bytes: &[u8]| match bytes {
        b"" => Ok(Value::Null),
        bytes => {
            serde_json::from_slice::<Value>(bytes).map_err(|error| fault(field, format!("cannot be read: {error}")))
        }
    };
    const NAMESPACE: &str = ".environment_namespace";
    let namespace = match parse(NAMESPACE, namespace)? {
        Value::Null => None,
        Value::String(text) => {
            check_text(&text).map_err(|description| fault(NAMESPACE, description))?;
            Some(text).filter(|text| !text.is_empty())
        }
        _ => return Err(fault(NAMESPACE, "must be a string".to_owned())),
    };
    let mut group = Group { namespace, labels: Vec::new() };
    let mut add = |key: &str, value: &Value| -> Result<(), LogFault> {
        let shown: String = key.chars().take(60).collect();
        let field = format!(".labels.{shown}");
        let is_rbac = |value: &Value| match value {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" || text.is_empty() => Ok(false),
            _ => Err(fault(&format!("{field}.rbac_enabled"), "must be true or false".to_owned())),
        };
        let (value, rbac_enabled) = match value {
            // What the older API and the forwarders' own labels look like.
            Value::String(text) => (text.clone(), false),
            Value::Null => (String::new(), false),
            Value::Object(object) => {
                let text = match object.get("value") {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text.clone(),
                    Some(_) => return Err(fault(&format!("{field}.value"), "must be a string".to_owned())),
                };
                let flag = object.get("rbac_enabled").or_else(|| object.get("rbacEnabled")).unwrap_or(&Value::Null);
                (text, is_rbac(flag)?)
            }
            _ => return Err(fault(&field, "must be an object with value".to_owned())),
        };
        if key.is_empty() {
            return Err(fault(".labels", "a key is empty".to_owned()));
        }
        check_text(key).and_then(|()| check_text(&value)).map_err(|description| fault(&field, description))?;
        group.labels.push(Label { key: key.to_owned(), value, rbac_enabled });
        Ok(())
    };
    match parse(".labels", labels)? {
        Value::Null => {}
        Value::Object(object) => object.iter().try_for_each(|(key, value)| add(key, value))?,
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                match item.get("key").and_then(Value::as_str) {
                    Some(key) => add(key, item)?,
                    None => {
                        return Err(fault(
                            &format!(".labels[{index}]"),
                            "must be an object with key and value".to_owned(),
                        ));
                    }
                }
            }
        }
        _ => return Err(fault(".labels", "must be an object".to_owned())),
    }
    if group.labels.len() > limits::LABELS_MAX {
        let description = format!("{} labels, more than the {} allowed", group.labels.len(), limits::LABELS_MAX);
        return Err(fault(".labels", description));
    }
    let bytes = Label::bytes_of(&group.labels);
    if bytes > limits::LABELS_BYTES_MAX {
        let description = format!("{bytes} bytes, more than the {} allowed", limits::LABELS_BYTES_MAX);
        return Err(fault(".labels", description));
    }
    Ok(group)
}

fn check_text(text: &str) -> Result<(), String> {
    if text.len() > limits::LABEL_BYTES_MAX {
        return Err(format!("{} bytes, more than the {} allowed", text.len(), limits::LABEL_BYTES_MAX));
    }
    if text.contains('\0') {
        return Err(crate::json::Unclean::Nul.describe().to_owned());
    }
    Ok(())
}
