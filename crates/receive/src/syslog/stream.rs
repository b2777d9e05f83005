//! A connection of lines, with or without TLS; and how a connection is read, for RELP too.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::Poll;

use dialects::syslog::frames::{Frame, Frames};
use dialects::syslog::{Received, Whose};
use event::limits;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::{Gone, Intake};
use crate::budget::Permit;

/// How much is read at once: little while a connection says little, since thousands of them may idle.
const READ_BYTES_MIN: usize = 8 << 10;
/// The most of it. Also about how much is in flight of a connection.
const READ_BYTES_MAX: usize = 256 << 10;

/// What waits for the rest of its line takes a part of the budget from here on.
const UNPAID_BYTES_MAX: usize = 16 << 10;

/// Serves one connection until it ends.
pub(super) async fn serve<S: AsyncRead + Unpin>(mut stream: S, peer: IpAddr, intake: Intake) {
    let mut frames = match intake.whose {
        Whose::Keyed => Frames::new(intake.frame_bytes_max()),
        // Nothing can be out of step where everything is taken.
        Whose::Bound { .. } => Frames::lenient(intake.frame_bytes_max()),
    };
    let mut reader = Reader::default();
    loop {
        let bytes = match reader.read(&mut stream, frames.buffered(), &intake).await {
            Ok(bytes) => bytes,
            Err(End::Gone) => return,
            // Some devices end a line only when they write the next one.
            Err(End::Stalled) => {
                let lines: Vec<_> = frames.end().map(|frame| (peer, received(frame))).into_iter().collect();
                tracing::debug!(%peer, protocol = intake.protocol, lines = lines.len(), "the end of a line did not come");
                let _ = intake.store(&lines).await;
                return;
            }
            Err(End::Broken(error)) => {
                tracing::debug!(%peer, protocol = intake.protocol, %error, "connection ended early");
                return;
            }
        };
        let mut lines = Vec::new();
        let is_over = bytes.is_empty();
        frames.push(bytes);
        let broken = loop {
            match frames.next_frame() {
                Ok(Some(frame)) => lines.push((peer, received(frame))),
                Ok(None) => break None,
                Err(broken) => break Some(broken),
            }
        };
        if is_over {
            lines.extend(frames.end().map(|frame| (peer, received(frame))));
            let _ = intake.store(&lines).await;
            return;
        }
        if intake.store(&lines).await.is_err() {
            return;
        }
        if let Some(broken) = broken {
            tracing::warn!(%peer, protocol = intake.protocol, %broken, "what was sent is no syslog; the connection is closed");
            return;
        }
        reader.pay(frames.buffered(), &intake).await;
    }
}

fn received(frame: Frame) -> Received {
    match frame {
        Frame::Whole(bytes) => Received::Line(bytes),
        Frame::TooLong { bytes, head } => Received::TooLong { bytes, head },
    }
}

/// Why a connection is not read any further.
pub(super) enum End {
    /// The process stops.
    Gone,
    /// The rest of something did not come.
    Stalled,
    /// The connection broke.
    Broken(io::Error),
}

impl From<Gone> for End {
    fn from(_: Gone) -> End {
        End::Gone
    }
}

/// Reads a connection.
#[derive(Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    room: Option<Permit>,
}

impl Reader {
    /// What has come, waiting for the first of it; nothing at the end of the stream. `buffered` is what waits for its rest:
    /// then it may not wait for ever.
    pub(super) async fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        buffered: usize,
        intake: &Intake,
    ) -> Result<&[u8], End> {
        let size = self.buffer.len().max(READ_BYTES_MIN);
        self.buffer.resize(size, 0);
        let reading = stream.read(&mut self.buffer);
        let first = if buffered == 0 {
            intake.unless_stopped(reading).await?
        } else {
            let timed = tokio::time::timeout(limits::BODY_READ_MAX, reading);
            intake.unless_stopped(timed).await?.map_err(|_| End::Stalled)?
        };
        let mut length = first.map_err(End::Broken)?;
        // More is there where the buffer is full, and over TLS also where a record ended.
        while length > 0 {
            if length == self.buffer.len() {
                if length >= READ_BYTES_MAX {
                    break;
                }
                self.buffer.resize(length * 2, 0);
            }
            match read_now(stream, &mut self.buffer[length..]).await {
                // An end or an error comes again with the next read.
                None | Some(Ok(0) | Err(_)) => break,
                Some(Ok(more)) => length += more,
            }
        }
        if length < self.buffer.len() / 4 {
            let smaller = (self.buffer.len() / 2).max(READ_BYTES_MIN).max(length);
            self.buffer.truncate(smaller);
            self.buffer.shrink_to(smaller);
        }
        Ok(&self.buffer[..length])
    }

    /// Takes or gives back room for what waits for its rest.
    pub(super) async fn pay(&mut self, buffered: usize, intake: &Intake) {
        if buffered <= UNPAID_BYTES_MAX {
            self.room = None;
        } else if self.room.is_none() {
            // On a stop the next read says so.
            self.room = intake.room(&intake.front.memory.bodies, intake.frame_bytes_max()).await.ok();
        }
    }
}

/// What can be read without waiting.
async fn read_now<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) -> Option<io::Result<usize>> {
    let mut read = ReadBuf::new(buffer);
    poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut *stream).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) => Some(Ok(read.filled().len())),
            Poll::Ready(Err(error)) => Some(Err(error)),
            Poll::Pending => None,
        })
    })
    .await
}
