//! The shape of a body: our own element for a record, and elements one after the other as a JSON array or as JSON lines,
//! compressed or not. Shared by the targets; pure.
//!
//! ```text
//! {"id":…,"received_at":…,"event_time":…,"instance":…,"kind":"raw"|"udm"|"entity","log_type":…,"namespace":…,
//!  "labels":[{"key":…,"value":…}],"text":"as sent" | "udm":{as sent} | "entity":{as sent}}
//! ```
//!
//! A log that is not UTF-8 stands in `data_base64` instead of `text`, so that its bytes arrive as they are.
//!
//! What a parser made of a log has the log's id, and before `udm` or `entity` `"ordinal":…,"parser":…`.
//!
//! Times are RFC 3339 in UTC. A UDM event or entity stands as its sender wrote it, byte for byte; only in JSON lines
//! are line ends between its tokens made spaces, since they would end the line.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes};
use event::{Event, Kind};
use flate2::Compression;

use crate::config::{HttpForm, HttpFormat};
use crate::elements::{Elements, Member, Memo};

impl HttpForm {
    /// Appends a record's element.
    pub(crate) fn element(self, event: &Event, elements: &mut Elements) {
        let lines = self.format == HttpFormat::Ndjson;
        elements.push(event.id(), |out, memo| {
            remember(memo, event);
            out.extend_from_slice(b"{\"id\":\"");
            write!(out.writer(), "{}", event.id()).expect("memory takes any text");
            out.extend_from_slice(&memo.before);
            write!(out.writer(), "{}", event.event_time).expect("memory takes any text");
            out.extend_from_slice(&memo.middle);
            out.extend_from_slice(event.kind.name().as_bytes());
            out.extend_from_slice(&memo.after);
            match event.kind {
                Kind::Raw => match std::str::from_utf8(&event.data) {
                    Ok(text) => {
                        out.extend_from_slice(b"text\":");
                        put_string(out, text);
                    }
                    // A log need not be UTF-8; what goes out is what came in.
                    Err(_) => {
                        out.extend_from_slice(b"data_base64\":\"");
                        out.extend_from_slice(STANDARD.encode(&event.data).as_bytes());
                        out.push(b'"');
                    }
                },
                Kind::Udm | Kind::Entity => {
                    // Several may have come of one record, whose id all have.
                    if let Some(parser) = event.parser.as_ref().filter(|_| event.is_parsed()) {
                        write!(out.writer(), "ordinal\":{},\"parser\":", event.ordinal).expect("memory takes any text");
                        put_string(out, parser);
                        out.extend_from_slice(b",\"");
                    }
                    out.extend_from_slice(event.kind.name().as_bytes());
                    out.extend_from_slice(b"\":");
                    let start = out.len();
                    out.extend_from_slice(&event.data);
                    if lines {
                        // Within JSON's strings line ends are escaped, so these stand between tokens.
                        for byte in &mut out[start..] {
                            if matches!(byte, b'\n' | b'\r') {
                                *byte = b' ';
                            }
                        }
                    }
                }
            }
            out.push(b'}');
        });
    }

    /// How long the body of these elements is before compression.
    pub(crate) fn body_bytes_len(self, elements: &Elements) -> usize {
        let between = match self.format {
            HttpFormat::Json => 1 + elements.len().max(1),
            HttpFormat::Ndjson => elements.len(),
        };
        elements.bytes_len() + between
    }

    /// The body of these elements: the same elements give the same bytes, always.
    pub(crate) fn assemble(self, elements: &Elements) -> Bytes {
        let mut plain = Vec::with_capacity(self.body_bytes_len(elements));
        match self.format {
            HttpFormat::Json => {
                plain.push(b'[');
                for (index, (_, element)) in elements.iter().enumerate() {
                    if index > 0 {
                        plain.push(b',');
                    }
                    plain.extend_from_slice(element);
                }
                plain.push(b']');
            }
            HttpFormat::Ndjson => {
                for (_, element) in elements.iter() {
                    plain.extend_from_slice(element);
                    plain.push(b'\n');
                }
            }
        }
        if !self.gzip {
            return plain.into();
        }
        // The fast level, without a time or name in the header: the same elements must give the same bytes.
        let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
        encoder.write_all(&plain).and_then(|()| encoder.finish()).expect("memory takes any bytes").into()
    }

    /// The elements of a body that [`HttpForm::assemble`] made of these members; `None` when it did not.
    pub(crate) fn take_apart(self, body: &Bytes, members: &[Member]) -> Option<Elements> {
        let inflated;
        let plain: &[u8] = if self.gzip {
            let expected: usize = members.iter().map(|member| member.bytes_len as usize + 1).sum::<usize>() + 1;
            let mut plain = Vec::with_capacity(expected);
            // One byte more than expected shows that the body is not of these members, without inflating a bomb.
            flate2::read::GzDecoder::new(&body[..]).take(expected as u64 + 1).read_to_end(&mut plain).ok()?;
            inflated = plain;
            &inflated
        } else {
            body
        };
        let mut at = usize::from(self.format == HttpFormat::Json);
        let mut elements = Elements::default();
        for member in members {
            let element = plain.get(at..at + member.bytes_len as usize)?;
            elements.push_encoded(member.id, element);
            at += element.len() + 1;
        }
        (self.assemble(&elements) == *body).then_some(elements)
    }
}

/// Writes the batch's own fields once for all its records.
fn remember(memo: &mut Memo, event: &Event) {
    if memo.batch.as_ref().is_some_and(|batch| std::sync::Arc::ptr_eq(batch, &event.batch)) {
        return;
    }
    let batch = &event.batch;
    memo.before.clear();
    write!(memo.before, "\",\"received_at\":\"{}\",\"event_time\":\"", batch.received_at)
        .expect("memory takes any text");
    memo.middle.clear();
    write!(memo.middle, "\",\"instance\":\"{}\",\"kind\":\"", batch.instance).expect("memory takes any text");
    memo.after.clear();
    memo.after.extend_from_slice(b"\",\"log_type\":");
    put_string(&mut memo.after, &batch.log_type);
    memo.after.extend_from_slice(b",\"namespace\":");
    put_string(&mut memo.after, &batch.namespace);
    memo.after.extend_from_slice(b",\"labels\":[");
    for (index, label) in batch.labels.iter().enumerate() {
        memo.after.extend_from_slice(if index == 0 { b"{\"key\":" } else { b",{\"key\":" });
        put_string(&mut memo.after, &label.key);
        memo.after.extend_from_slice(b",\"value\":");
        put_string(&mut memo.after, &label.value);
        memo.after.push(b'}');
    }
    memo.after.extend_from_slice(b"],\"");
    memo.batch = Some(batch.clone());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("memory takes any text");
}
