//! Reads a request's body: once, bounded, never slower than a client may be; and inflates it.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use event::limits;
use http_body_util::BodyExt;
use hyper::body::Incoming;

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
                    (name, Encoding::Gzip) => return Err(format!("gzip, {name}").chars().take(40).collect()),
                    _ => return Err(name.chars().take(40).collect()),
                }
            }
        }
        Ok(encoding)
    }
}

/// A body that is being read, as it comes over the wire.
#[derive(Debug)]
pub struct Reading {
    bytes: Vec<u8>,
    /// What was read but did not fit.
    rest: Option<Bytes>,
    announced: Option<usize>,
    /// How long it has been waited for, our own waiting for room left out.
    waited: Duration,
}

impl Reading {
    /// Before its first byte. `announced` is its length, where the head says one.
    pub fn new(announced: Option<usize>) -> Reading {
        Reading { bytes: Vec::new(), rest: None, announced, waited: Duration::ZERO }
    }

    /// The beginning of the body, as much of it as comes at once, which may be little. It is read again with the rest.
    pub async fn start(&mut self, body: &mut Incoming) -> Result<&[u8], BodyError> {
        while self.rest.is_none() {
            match self.frame(body).await? {
                None => break,
                Some(frame) => self.rest = frame.into_data().ok(),
            }
        }
        Ok(self.rest.as_deref().unwrap_or_default())
    }

    /// Reads on until the body is whole or has more than `bytes_max`; then it is [`BodyError::TooLarge`], and may be read
    /// on with a larger limit. What has not been read stays in `body`.
    pub async fn up_to(&mut self, bytes_max: usize, body: &mut Incoming) -> Result<Bytes, BodyError> {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(self.announced.unwrap_or(0).min(bytes_max));
        }
        if let Some(rest) = self.rest.take() {
            if self.bytes.is_empty() && self.announced == Some(rest.len()) && rest.len() <= bytes_max {
                return Ok(rest);
            }
            self.take(rest, bytes_max)?;
        }
        loop {
            let Some(frame) = self.frame(body).await? else { return Ok(std::mem::take(&mut self.bytes).into()) };
            let Ok(data) = frame.into_data() else { continue };
            if self.bytes.is_empty() && self.announced == Some(data.len()) && data.len() <= bytes_max {
                // Small bodies come whole: no copy.
                return Ok(data);
            }
            self.take(data, bytes_max)?;
        }
    }

    async fn frame(&mut self, body: &mut Incoming) -> Result<Option<hyper::body::Frame<Bytes>>, BodyError> {
        let began = tokio::time::Instant::now();
        let left = limits::BODY_READ_MAX.saturating_sub(self.waited);
        let frame = tokio::time::timeout(limits::BODY_IDLE_MAX.min(left), body.frame()).await;
        self.waited += began.elapsed();
        match frame {
            Err(_) => Err(BodyError::TimedOut),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => Err(BodyError::Broken(error.to_string())),
            Ok(Some(Ok(frame))) => Ok(Some(frame)),
        }
    }

    fn take(&mut self, data: Bytes, bytes_max: usize) -> Result<(), BodyError> {
        if self.bytes.len() + data.len() > bytes_max {
            self.rest = Some(data);
            return Err(BodyError::TooLarge);
        }
        self.bytes.extend_from_slice(&data);
        Ok(())
    }
}

/// How long a gzip body says at its end that it is inflated. It may have several members or lie: it is good for a first
/// guess and nothing else.
pub fn inflated_bytes(packed: &[u8]) -> usize {
    packed.last_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) as usize)
}

/// What can be inflated of the beginning of a body, at most `bytes_max`; nothing where it is no gzip.
pub fn inflate_start(packed: &[u8], bytes_max: usize) -> Vec<u8> {
    use std::io::Read;
    let mut start = Vec::new();
    // It ends early, of course; what came before that is what is wanted.
    let _ = flate2::read::GzDecoder::new(packed).take(bytes_max as u64).read_to_end(&mut start);
    start
}

/// The body inflated, or [`BodyError::TooLarge`] when it has more than `bytes_max`: a decompression bomb ends at the limit
/// and not in memory.
pub fn inflate(packed: &[u8], bytes_max: usize) -> Result<Bytes, BodyError> {
    let room = inflated_bytes(packed).min(bytes_max);
    let mut decoder = flate2::write::MultiGzDecoder::new(Limited { bytes: Vec::with_capacity(room), bytes_max });
    decoder.write_all(packed).map_err(|error| sort_out(&error))?;
    decoder.finish().map(|limited| limited.bytes.into()).map_err(|error| sort_out(&error))
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

fn sort_out(error: &io::Error) -> BodyError {
    if error.get_ref().is_some_and(|inner| inner.is::<OverLimit>()) {
        BodyError::TooLarge
    } else {
        BodyError::BadGzip(error.to_string())
    }
}

/// A buffer that refuses to grow past its limit.
struct Limited {
    bytes: Vec<u8>,
    bytes_max: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("over the limit")]
struct OverLimit;

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

    #[test]
    fn the_limit_counts_inflated_bytes_exactly() {
        let zeros = gzip(&vec![b'0'; 5_000]);
        assert_eq!(inflated_bytes(&zeros), 5_000);
        assert_eq!(inflate_start(&zeros, 100), vec![b'0'; 100]);
        assert_eq!(inflate_start(b"no gzip", 100), b"");
        assert_eq!(inflate(&zeros, 5_000).unwrap().len(), 5_000);
        assert_eq!(inflate(&zeros, 4_999), Err(BodyError::TooLarge));
    }

    #[test]
    fn several_members_are_one_body_and_rubbish_is_named() {
        let mut two = gzip(b"one ");
        two.extend(gzip(b"two"));
        assert_eq!(&inflate(&two, 100).unwrap()[..], b"one two");
        assert!(matches!(inflate(b"not gzip at all", 100), Err(BodyError::BadGzip(_))));
        assert!(matches!(inflate(b"", 100), Err(BodyError::BadGzip(_))));
        let whole = gzip(b"cut short");
        assert!(matches!(inflate(&whole[..whole.len() - 4], 100), Err(BodyError::BadGzip(_))));
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
        assert_eq!(of("gzip, gzip"), Err("gzip, gzip".to_owned()));
    }
}
