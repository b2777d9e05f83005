//! From lines to batches: whose they are, what of them is kept as the record, and what stands beside it.
//!
//! What the header of a line says is kept as labels of its batch, since parsers ask for it (contracts/sekoia.md §1.7), so
//! lines with the same header are one batch. A line that cannot be taken is refused by itself: the lines beside it may be
//! of others.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use bytes::Bytes;
use event::{Batch, BatchId, Label, Record, Time, limits};

use super::line::{Line, without_ending};
use crate::auth::IntakeSender;
use crate::snapshot::{Limits, Snapshot};
use crate::{Caller, Cause, Refusal, auth};

/// A line as it came, or what is known of one that was too long to be kept.
#[derive(Clone)]
pub enum Received {
    /// A whole line.
    Line(Bytes),
    /// A line over the limit.
    TooLong {
        /// How long.
        bytes: u64,
        /// How it began.
        head: Bytes,
    },
}

/// Shows how long it is without what it says: lines hold intake keys.
impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Received::Line(bytes) => write!(f, "line ({} bytes)", bytes.len()),
            Received::TooLong { bytes, .. } => write!(f, "too long ({bytes} bytes)"),
        }
    }
}

/// Whose the lines of a listener are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Each line names an intake by the key in its structured data.
    Keyed,
    /// All of them are this intake's: the operator bound the port to it.
    Bound {
        /// The intake's id.
        intake: String,
        /// What is kept of a line.
        text: Text,
    },
}

/// What is kept of a line as the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// All of it, as the device wrote it.
    Line,
    /// The message, without the header.
    Message,
}

/// What came of lines.
#[derive(Debug, Default)]
pub struct Accepted {
    /// To be appended as one frame, all or none.
    pub batches: Vec<(Caller, Batch)>,
    /// Lines that are not taken, by their index, in order.
    pub refused: Vec<(usize, Refusal)>,
}

/// Room for a line's header and key, beside the largest event.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// The longest line that a listener reads: beyond, it is skipped.
pub fn frame_bytes_max(limits: &Limits) -> usize {
    limits.sekoia_event_bytes_max + HEADER_BYTES_MAX
}

/// What lines mean that came together, each with the address that it came from.
pub fn accept(
    lines: &[(IpAddr, Received)],
    whose: &Whose,
    snapshot: &Snapshot,
    now: Time,
    next_id: &mut dyn FnMut() -> BatchId,
) -> Accepted {
    let mut accepted = Accepted::default();
    let mut groups: HashMap<(String, Vec<Label>), usize> = HashMap::new();
    let mut gathered: Vec<(IntakeSender, Vec<Label>, Vec<Record>)> = Vec::new();
    let mut keys = Keys::default();
    let bound_to = match whose {
        Whose::Keyed => None,
        Whose::Bound { intake, .. } => auth::bound_to_intake(intake, snapshot),
    };
    for (index, (peer, received)) in lines.iter().enumerate() {
        let read = match whose {
            Whose::Keyed => keyed(received, &mut keys, snapshot),
            Whose::Bound { intake, text } => match &bound_to {
                Some(found) => bound(received, found, *text, *peer, snapshot, now),
                None => {
                    let message =
                        format!("The port is bound to the intake {intake}, which does not exist or is disabled.");
                    Err(Refusal::unauthenticated(message).into())
                }
            },
        };
        let Read { sender, labels, record } = match read {
            Ok(read) => read,
            Err(refusal) => {
                accepted.refused.push((index, Refusal { records: Some(1), ..*refusal }));
                continue;
            }
        };
        let place = *groups.entry((sender.intake().id.clone(), labels)).or_insert_with_key(|(_, labels)| {
            gathered.push((sender, labels.clone(), Vec::new()));
            gathered.len() - 1
        });
        gathered[place].2.push(record);
    }
    let batches = gathered.into_iter();
    accepted.batches = batches.map(|(sender, labels, records)| sender.batch(next_id(), now, labels, records)).collect();
    accepted
}

struct Read {
    sender: IntakeSender,
    labels: Vec<Label>,
    record: Record,
}

/// The keys of lines that came together: nearly always one.
#[derive(Default)]
struct Keys(HashMap<String, IntakeSender>);

impl Keys {
    fn sender(&mut self, key: &str, snapshot: &Snapshot) -> Result<IntakeSender, Box<Refusal>> {
        if let Some(found) = self.0.get(key) {
            return Ok(found.clone());
        }
        let found = auth::authenticate_intake_key(key, snapshot)?;
        self.0.insert(key.to_owned(), found.clone());
        Ok(found)
    }
}

fn keyed(received: &Received, keys: &mut Keys, snapshot: &Snapshot) -> Result<Read, Box<Refusal>> {
    let (Received::Line(bytes) | Received::TooLong { head: bytes, .. }) = received;
    let line = Line::read_5424(bytes)
        .map_err(|why| Refusal::invalid(format!("The line is no syslog of RFC 5424 with an intake key: {why}.")))?;
    let Some(key) = &line.intake_key else {
        let message = "The line has no intake key in its structured data ([SEKOIA@53288 intake_key=\"…\"]).";
        return Err(Refusal::unauthenticated(message).into());
    };
    let sender = keys.sender(key, snapshot)?;
    if let Received::TooLong { bytes: length, .. } = received {
        return Err(too_large(*length, snapshot).of(sender.caller()).into());
    }
    if line.message.len() > snapshot.limits.sekoia_event_bytes_max {
        return Err(too_large(line.message.len() as u64, snapshot).of(sender.caller()).into());
    }
    let record = Record { sender_time: line.time, ..Record::new(bytes.slice_ref(line.message)) };
    Ok(Read { sender, labels: labels(&line), record })
}

fn bound(
    received: &Received,
    sender: &IntakeSender,
    text: Text,
    peer: IpAddr,
    snapshot: &Snapshot,
    now: Time,
) -> Result<Read, Box<Refusal>> {
    let bytes = match received {
        Received::Line(bytes) => bytes,
        Received::TooLong { bytes, .. } => return Err(too_large(*bytes, snapshot).of(sender.caller()).into()),
    };
    let line = Line::read(bytes, now);
    let kept = match text {
        Text::Line => without_ending(bytes),
        Text::Message => line.message,
    };
    if kept.len() > snapshot.limits.sekoia_event_bytes_max {
        return Err(too_large(kept.len() as u64, snapshot).of(sender.caller()).into());
    }
    if without_ending(bytes).is_empty() {
        return Err(Refusal::invalid("The line is empty.").of(sender.caller()).into());
    }
    let mut labels = labels(&line);
    // Devices that cannot do better often do not say who they are.
    labels.push(Label { key: "syslog.peer".to_owned(), value: peer.to_string(), rbac_enabled: false });
    let record = Record { sender_time: line.time, ..Record::new(bytes.slice_ref(kept)) };
    Ok(Read { sender: sender.clone(), labels, record })
}

fn too_large(bytes: u64, snapshot: &Snapshot) -> Refusal {
    let most = snapshot.limits.sekoia_event_bytes_max;
    Refusal::new(Cause::TooLarge, format!("The event has {bytes} bytes, more than the {most} allowed."))
}

/// What the header says, each value cut to the length that a label may have.
fn labels(line: &Line<'_>) -> Vec<Label> {
    let mut labels = line.labels();
    for label in &mut labels {
        if let Cow::Owned(cut) = cut(&label.value) {
            label.value = cut;
        }
    }
    labels
}

fn cut(value: &str) -> Cow<'_, str> {
    if value.len() <= limits::LABEL_BYTES_MAX {
        return Cow::Borrowed(value);
    }
    let end = value.floor_char_boundary(limits::LABEL_BYTES_MAX - '…'.len_utf8());
    Cow::Owned(format!("{}…", &value[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::snapshot::{IntakeKey, SecretHash};
    use crate::testing::{OURS, World, instance};

    const KEY: &str = "KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK";
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn world() -> World {
        let mut world = World::new();
        for (key, id, disabled) in [(KEY, "intake-a", false), ("OFF", "intake-b", true)] {
            let intake = IntakeKey {
                id: id.to_owned(),
                instance: instance(OURS),
                log_type: "UNBOUND_DNS".to_owned(),
                namespace: String::new(),
                disabled,
            };
            world.snapshot.intakes.insert(SecretHash::of(key), Arc::new(intake));
        }
        world
    }

    fn take(world: &World, whose: &Whose, lines: &[(IpAddr, Received)]) -> Accepted {
        let mut made = 0;
        let mut next_id = || {
            made += 1;
            BatchId::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 | made << 32).unwrap()
        };
        accept(lines, whose, &world.snapshot, world.now, &mut next_id)
    }

    fn lines(lines: &[&str]) -> Vec<(IpAddr, Received)> {
        lines.iter().map(|line| (PEER, Received::Line(Bytes::copy_from_slice(line.as_bytes())))).collect()
    }

    fn shown(batch: &Batch) -> (Vec<String>, Vec<&str>) {
        let labels = batch.meta.labels.iter().map(|label| format!("{}={}", label.key, label.value)).collect();
        (labels, batch.records.iter().map(|record| std::str::from_utf8(&record.data).unwrap()).collect())
    }

    #[test]
    fn keyed_lines_are_batched_by_what_their_headers_say() {
        let sd = format!("[SEKOIA@53288 intake_key=\"{KEY}\"]");
        let captured = include_str!("../sekoia/captures/syslog.txt");
        let captured = captured.lines().find(|line| line.contains("hello world")).unwrap();
        let captured = captured.replace("ABCDEFGH12345678", KEY).replace("\\n", "\n");
        let captured = captured.split_once(' ').unwrap().1;
        let accepted = take(
            &world(),
            &Whose::Keyed,
            &lines(&[
                captured,
                &format!("<13>1 - b - - LOG {sd} one\r\n"),
                &format!("<134>1 2026-11-21T20:39:33Z hostA appB 42 LOG {sd} again"),
                &format!("<13>1 - b - - LOG {sd}[x@1 y=\"z\"] two"),
                &format!("<13>1 - b - - LOG {sd} "),
            ]),
        );
        assert!(accepted.refused.is_empty(), "{accepted:?}");
        let batches: Vec<_> = accepted.batches.iter().map(|(_, batch)| shown(batch)).collect();
        let host_a: Vec<String> =
            ["facility=local0", "severity=info", "hostname=hostA", "appname=appB", "procid=42", "msgid=LOG"]
                .map(|label| format!("syslog.{label}"))
                .into();
        let b: Vec<String> = ["facility=user", "severity=notice", "hostname=b", "msgid=LOG"]
            .map(|label| format!("syslog.{label}"))
            .into();
        let with_sd = [b.clone(), vec!["syslog.structured_data=[x@1 y=\"z\"]".to_owned()]].concat();
        assert_eq!(batches, [(host_a, vec!["hello world", "again"]), (b, vec!["one", ""]), (with_sd, vec!["two"])]);
        let first = &accepted.batches[0];
        assert_eq!((first.0.sender(), first.1.meta.feed.as_str()), ("intake:intake-a", "intakes/intake-a"));
        assert_eq!(first.1.records[0].sender_time, Some(Time::parse_rfc3339("2026-11-21T20:39:32.650974Z").unwrap()));
    }

    #[test]
    fn a_line_is_refused_by_itself() {
        let line = |key: &str, text: &str| format!("<13>1 - b - - LOG [SEKOIA@53288 intake_key=\"{key}\"] {text}");
        let mut sent = lines(&[
            &line(KEY, "good"),
            &line("nobody's", "a"),
            &line("OFF", "b"),
            "<13>1 - b - - LOG - no key",
            "<13>Oct 11 22:14:15 b su: no key either",
            &line(KEY, &"x".repeat(256_001)),
        ]);
        let head = Bytes::from(line(KEY, "x"));
        sent.push((PEER, Received::TooLong { bytes: 300_000, head }));
        let accepted = take(&world(), &Whose::Keyed, &sent);
        assert_eq!(accepted.batches.len(), 1);
        let refused: Vec<_> = accepted
            .refused
            .iter()
            .map(|(index, refusal)| (*index, refusal.cause, refusal.sender.as_deref()))
            .collect();
        let (unknown, large) = (Cause::Unauthenticated, Cause::TooLarge);
        assert_eq!(
            refused,
            [
                (1, unknown, None),
                (2, unknown, Some("intake:intake-b")),
                (3, unknown, None),
                (4, Cause::InvalidArgument, None),
                (5, large, Some("intake:intake-a")),
                (6, large, Some("intake:intake-a")),
            ]
        );
        assert!(!format!("{accepted:?}").contains("nobody's"), "a key is never shown");
    }

    #[test]
    fn a_bound_port_keeps_lines_or_messages() {
        let sent = lines(&["<34>Oct 11 22:14:15 mymachine su[7]: 'su root' failed\n", "no header at all"]);
        let whole = Whose::Bound { intake: "intake-a".to_owned(), text: Text::Line };
        let accepted = take(&world(), &whole, &sent);
        let batches: Vec<_> = accepted.batches.iter().map(|(_, batch)| shown(batch)).collect();
        assert_eq!(batches[0].1, ["<34>Oct 11 22:14:15 mymachine su[7]: 'su root' failed"]);
        assert!(batches[0].0.contains(&"syslog.appname=su".to_owned()), "{batches:?}");
        assert!(batches[0].0.contains(&"syslog.peer=127.0.0.1".to_owned()), "{batches:?}");
        assert_eq!(batches[1].1, ["no header at all"]);
        let message = Whose::Bound { intake: "intake-a".to_owned(), text: Text::Message };
        assert_eq!(shown(&take(&world(), &message, &sent).batches[0].1).1, ["'su root' failed"]);
        for intake in ["intake-b", "intake-z"] {
            let nobody = Whose::Bound { intake: intake.to_owned(), text: Text::Line };
            let accepted = take(&world(), &nobody, &sent);
            assert_eq!((accepted.batches.len(), accepted.refused.len()), (0, 2));
        }
    }

    #[test]
    fn labels_are_as_long_as_labels_may_be() {
        let long = "é".repeat(5_000);
        let sd = format!("[SEKOIA@53288 intake_key=\"{KEY}\"][a x=\"{long}\"]");
        let accepted = take(&world(), &Whose::Keyed, &lines(&[&format!("<13>1 - b - - LOG {sd} x")]));
        let label = accepted.batches[0].1.meta.labels.last().unwrap().clone();
        assert!(label.value.len() <= limits::LABEL_BYTES_MAX && label.value.ends_with('…'));
    }
}
