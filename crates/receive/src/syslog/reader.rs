//! How a connection of lines or of RELP is read: what is there, no more than there is room for, and no rest of a line for
//! ever.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use event::limits;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::Instant;

use super::{Gone, Intake};
use crate::budget::Permit;

/// How much is read at once: little while a connection says little, since thousands of them may idle.
const READ_BYTES_MIN: usize = 8 << 10;
/// The most of it, where there is room. Also about how much is in flight of a connection.
const READ_BYTES_MAX: usize = 256 << 10;

/// What waits for the rest of its line takes a part of the budget from here on.
const UNPAID_BYTES_MAX: usize = 16 << 10;

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
    /// Room for reading much at once, and for what is made of it until the next read.
    much: Option<Permit>,
    /// Room for what waits for its rest.
    rest: Option<Permit>,
    /// When what waits for its rest began.
    began: Option<Instant>,
    /// What ended a read that had something to give before.
    broken: Option<io::Error>,
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
        if let Some(error) = self.broken.take() {
            return Err(End::Broken(error));
        }
        if intake.is_stopping() {
            return Err(End::Gone);
        }
        self.much = None;
        if self.buffer.len() != READ_BYTES_MIN {
            self.buffer = vec![0; READ_BYTES_MIN];
        }
        let reading = stream.read(&mut self.buffer);
        let first = if buffered == 0 {
            self.began = None;
            intake.unless_stopped(reading).await?
        } else {
            let began = *self.began.get_or_insert_with(Instant::now);
            let timed = tokio::time::timeout_at(began + limits::BODY_READ_MAX, reading);
            intake.unless_stopped(timed).await?.map_err(|_| End::Stalled)?
        };
        let mut length = first.map_err(End::Broken)?;
        // More is there where the buffer is full, and over TLS also where a record ended.
        while length > 0 && length < READ_BYTES_MAX {
            if length == self.buffer.len() {
                // Twice: once here, once cut into lines.
                let bodies = &intake.front.memory.bodies;
                self.much = self.much.take().or_else(|| bodies.try_take(None, READ_BYTES_MAX * 2));
                if self.much.is_none() {
                    break;
                }
                self.buffer.resize((length * 4).min(READ_BYTES_MAX), 0);
            }
            match read_now(stream, &mut self.buffer[length..]).await {
                // The end comes again with the next read, an error does not.
                None | Some(Ok(0)) => break,
                Some(Ok(more)) => length += more,
                Some(Err(error)) => {
                    self.broken = Some(error);
                    break;
                }
            }
        }
        Ok(&self.buffer[..length])
    }

    /// Whether something whole came of what was read: the clock of what waits for its rest begins anew.
    pub(super) fn progressed(&mut self, has_whole: bool) {
        if has_whole {
            self.began = None;
        }
    }

    /// Takes or gives back room for what waits for its rest.
    pub(super) async fn pay(&mut self, buffered: usize, intake: &Intake) {
        self.much = None;
        if buffered <= UNPAID_BYTES_MAX {
            self.rest = None;
        } else if self.rest.is_none() {
            // On a stop the next read says so.
            self.rest = intake.room(&intake.front.memory.bodies, intake.frame_bytes_max()).await.ok();
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
