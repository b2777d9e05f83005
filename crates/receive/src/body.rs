//! Reads a request's body: once, bounded, inflated on the way, and never slower than a client may be.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use event::limits;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// Why a body could not be had.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyError {
    /// More than the limit, uncompressed.
    TooLarge,
    /// `Content-Encoding: gzip`, but it is none, or it ends early.
    BadGzip(String),
    /// The client stopped sending.
    TimedOut,
    /// The client went away or broke the transfer encoding.
    Broken(String),
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// gzip, one member or several.
    Gzip,
}

impl Encoding {
    /// From a `Content-Encoding` header; `Err` names what we do not take.
    pub fn of(headers: &http::HeaderMap) -> Result<Encoding, String> {
        let mut encoding = Encoding::Identity;
        for value in headers.get_all(http::header::CONTENT_ENCODING) {
            let text = String::from_utf8_lossy(value.as_bytes());
            for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                match (name.to_ascii_lowercase().as_str(), encoding) {
                    ("identity", _) => {}
                    ("gzip" | "x-gzip", Encoding::Identity) => encoding = Encoding::Gzip,
                    _ => return Err(name.chars().take(40).collect()),
                }
            }
        }
        Ok(encoding)
    }
}

/// The body, uncompressed. Reading stops as soon as it is known to be too large; what has not been read stays in `body`.
pub async fn read(body: &mut Incoming, encoding: Encoding, bytes_max: usize) -> Result<Bytes, BodyError> {
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    if encoding == Encoding::Identity && announced.is_some_and(|length| length > bytes_max) {
        return Err(BodyError::TooLarge);
    }
    let mut sink = match encoding {
        Encoding::Identity => Sink::Plain(Limited::new(bytes_max, announced.unwrap_or(0))),
        Encoding::Gzip => Sink::Gzip(Box::new(flate2::write::MultiGzDecoder::new(Limited::new(bytes_max, 0)))),
    };
    let started = tokio::time::Instant::now();
    let mut first = true;
    loop {
        let left = limits::BODY_READ_MAX.saturating_sub(started.elapsed());
        let frame = match tokio::time::timeout(limits::BODY_IDLE_MAX.min(left), body.frame()).await {
            Err(_) => return Err(BodyError::TimedOut),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(BodyError::Broken(error.to_string())),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first && encoding == Encoding::Identity && announced == Some(data.len()) {
            // Small bodies come whole: no copy.
            return Ok(data);
        }
        first = false;
        sink.take(&data)?;
    }
    sink.finish()
}

/// Reads and forgets what a refused client still sends, within bounds, so that it gets to read our answer instead of a
/// reset connection.
pub async fn drain(mut body: Incoming, bytes_max: usize, time_max: Duration) -> bool {
    let read_all = async {
        let mut left = bytes_max;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if bytes > left {
                return false;
            }
            left -= bytes;
        }
        true
    };
    tokio::time::timeout(time_max, read_all).await.unwrap_or(false)
}

enum Sink {
    Plain(Limited),
    Gzip(Box<flate2::write::MultiGzDecoder<Limited>>),
}

impl Sink {
    fn take(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let written = match self {
            Sink::Plain(limited) => limited.write_all(data),
            Sink::Gzip(decoder) => decoder.write_all(data),
        };
        written.map_err(|error| sort_out(&error))
    }

    fn finish(self) -> Result<Bytes, BodyError> {
        match self {
            Sink::Plain(limited) => Ok(limited.into_bytes()),
            Sink::Gzip(decoder) => decoder.finish().map(Limited::into_bytes).map_err(|error| sort_out(&error)),
        }
    }
}

fn sort_out(error: &io::Error) -> BodyError {
    if error.get_ref().is_some_and(|inner| inner.is::<OverLimit>()) {
        BodyError::TooLarge
    } else {
        BodyError::BadGzip(error.to_string())
    }
}

/// A buffer that refuses to grow past its limit, so that a decompression bomb ends at the limit and not in memory.
struct Limited {
    bytes: Vec<u8>,
    bytes_max: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("over the limit")]
struct OverLimit;

impl Limited {
    fn new(bytes_max: usize, capacity: usize) -> Limited {
        Limited { bytes: Vec::with_capacity(capacity.min(bytes_max)), bytes_max }
    }

    fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

impl Write for Limited {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > self.bytes_max {
            return Err(io::Error::other(OverLimit));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(data: &[u8], bytes_max: usize, chunk: usize) -> Result<Bytes, BodyError> {
        let mut sink = Sink::Gzip(Box::new(flate2::write::MultiGzDecoder::new(Limited::new(bytes_max, 0))));
        for chunk in data.chunks(chunk) {
            sink.take(chunk)?;
        }
        sink.finish()
    }

    #[test]
    fn the_limit_counts_inflated_bytes_exactly() {
        let zeros = gzip(&vec![b'0'; 5_000]);
        assert_eq!(inflate(&zeros, 5_000, 7).unwrap().len(), 5_000);
        assert_eq!(inflate(&zeros, 4_999, 7), Err(BodyError::TooLarge));
    }

    #[test]
    fn several_members_are_one_body_and_rubbish_is_named() {
        let mut two = gzip(b"one ");
        two.extend(gzip(b"two"));
        assert_eq!(&inflate(&two, 100, 3).unwrap()[..], b"one two");
        assert!(matches!(inflate(b"not gzip at all", 100, 3), Err(BodyError::BadGzip(_))));
        let whole = gzip(b"cut short");
        assert!(matches!(inflate(&whole[..whole.len() - 4], 100, 3), Err(BodyError::BadGzip(_))));
    }

    #[test]
    fn encodings_that_we_do_not_take_are_named() {
        let of = |value: &'static str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(http::header::CONTENT_ENCODING, http::HeaderValue::from_static(value));
            Encoding::of(&headers)
        };
        assert_eq!(Encoding::of(&http::HeaderMap::new()), Ok(Encoding::Identity));
        assert_eq!(of("GZIP"), Ok(Encoding::Gzip));
        assert_eq!(of("identity"), Ok(Encoding::Identity));
        assert_eq!(of("br"), Err("br".to_owned()));
        assert_eq!(of("gzip, gzip"), Err("gzip".to_owned()));
    }
}
