//! One accepted connection's bytes, with the clock that hyper does not keep for us.
//!
//! hyper's own header timeout also closes kept-alive connections that merely idle, and says nothing to the client. Here
//! the stream itself knows what it waits for: the first byte of a request (long), the rest of its head (short, then
//! `408` is written before closing), or nothing while a request is being handled. Bodies have their own clock, in
//! `body.rs`, since only there an answer in the dialect's form is possible. A client that reads nothing of its answer is
//! cut off, too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use event::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What a connection is doing; shared between its stream and the service that answers its requests.
#[derive(Debug, Default)]
pub struct Phase(AtomicU8);

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

impl Phase {
    /// A request's head has been read; until what this gives is dropped, the stream keeps no time.
    pub fn busy(self: &Arc<Phase>) -> Busy {
        self.0.store(BUSY, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

/// A request that is being handled. Held by its reply, and by whoever still reads its body.
#[derive(Debug)]
pub struct Busy(Arc<Phase>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.store(IDLE, Ordering::Relaxed);
    }
}

/// A stream that ends by itself when a client takes too long to say what it wants.
pub struct Timed<S> {
    stream: S,
    phase: Arc<Phase>,
    head_max: Duration,
    idle_max: Duration,
    /// When the phase that is being timed began; `None` while busy.
    since: Option<(u8, Instant)>,
    /// Boxed: a timer is large and most of ten thousand idle connections share its cost only once.
    alarm: Pin<Box<Sleep>>,
    /// What is left of the `408` to write before the end.
    farewell: Option<&'static [u8]>,
    /// Runs while the client takes nothing of what is there for it.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Written when a head does not come in time. Which dialect it would have been is not known, so the form is Google's.
const TIMED_OUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
content-type: application/json; charset=UTF-8\r\n\
connection: close\r\n\
content-length: 109\r\n\r\n\
{\"error\":{\"code\":408,\"message\":\"The request's headers did not arrive in time.\",\"status\":\"DEADLINE_EXCEEDED\"}}";

impl<S> Timed<S> {
    /// Wraps an accepted stream.
    pub fn new(stream: S, phase: Arc<Phase>, head_max: Duration, idle_max: Duration) -> Timed<S> {
        let alarm = Box::pin(tokio::time::sleep(idle_max));
        Timed { stream, phase, head_max, idle_max, since: None, alarm, farewell: None, stalled: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.farewell.is_some() {
            return this.say_farewell(cx);
        }
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            // The first bytes of a request start the short clock; later ones do not restart it, or a byte a second
            // would keep a head alive for ever.
            if buf.filled().len() > before && this.phase.0.load(Ordering::Relaxed) == IDLE {
                this.phase.0.store(HEAD, Ordering::Relaxed);
            }
            return Poll::Ready(result);
        }
        let phase = this.phase.0.load(Ordering::Relaxed);
        if phase == BUSY {
            this.since = None;
            return Poll::Pending;
        }
        let now = Instant::now();
        let began = match this.since {
            Some((timed, began)) if timed == phase => began,
            _ => now,
        };
        this.since = Some((phase, began));
        let deadline = began + if phase == HEAD { this.head_max } else { this.idle_max };
        if this.alarm.deadline() != deadline {
            this.alarm.as_mut().reset(deadline);
        }
        ready!(this.alarm.as_mut().poll(cx));
        if phase == HEAD {
            this.farewell = Some(TIMED_OUT);
            return this.say_farewell(cx);
        }
        // An idle connection ends as if the client had closed it: hyper then closes cleanly.
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Timed<S> {
    fn say_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.farewell.filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            self.farewell = Some(&rest[written..]);
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S> Timed<S> {
    /// What came of writing, unless nothing has for too long: a client that reads nothing would keep its answer in
    /// memory for ever.
    fn unless_stalled<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limits::WRITE_STALL_MAX)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.unless_stalled(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_stalled(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.unless_stalled(written, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const HEAD_MAX: Duration = Duration::from_secs(15);
    const IDLE_MAX: Duration = Duration::from_secs(300);

    #[test]
    fn the_farewell_states_its_own_length() {
        let text = std::str::from_utf8(TIMED_OUT).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head} {}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_head_gets_408_even_when_bytes_keep_dripping() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut timed = Timed::new(server, Arc::default(), HEAD_MAX, IDLE_MAX);
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            timed.read_to_end(&mut all).await
        });
        let started = Instant::now();
        let mut answer = Vec::new();
        let mut chunk = [0u8; 64];
        loop {
            let _ = client.write_all(b"x").await;
            match tokio::time::timeout(Duration::from_secs(1), client.read(&mut chunk)).await {
                Ok(Ok(0)) => break,
                Ok(Ok(n)) => answer.extend_from_slice(&chunk[..n]),
                Ok(Err(_)) => break,
                Err(_) => {}
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
        assert_eq!(reader.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < HEAD_MAX * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_may_idle_and_then_ends_quietly() {
        let (_client, server) = tokio::io::duplex(64);
        let mut timed = Timed::new(server, Arc::default(), HEAD_MAX, IDLE_MAX);
        let started = Instant::now();
        assert_eq!(timed.read(&mut [0u8; 8]).await.unwrap(), 0);
        assert!(started.elapsed() >= IDLE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_of_its_answer_is_cut_off_and_a_slow_one_is_not() {
        let (mut client, server) = tokio::io::duplex(64);
        let phase = Arc::new(Phase::default());
        let _busy = phase.busy();
        let mut timed = Timed::new(server, phase, HEAD_MAX, IDLE_MAX);
        let writer = tokio::spawn(async move { (timed.write_all(&[7; 1_000]).await, Instant::now()) });
        let mut read = [0u8; 64];
        for _ in 0..3 {
            tokio::time::sleep(limits::WRITE_STALL_MAX / 2).await;
            client.read_exact(&mut read).await.unwrap();
        }
        let last = Instant::now();
        let (written, ended) = writer.await.unwrap();
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(ended - last >= limits::WRITE_STALL_MAX && ended - last < limits::WRITE_STALL_MAX * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn no_clock_runs_while_a_request_is_handled() {
        let (_client, server) = tokio::io::duplex(64);
        let phase = Arc::new(Phase::default());
        let _busy = phase.busy();
        let mut timed = Timed::new(server, phase, HEAD_MAX, IDLE_MAX);
        let read = tokio::time::timeout(IDLE_MAX * 10, timed.read(&mut [0u8; 8])).await;
        assert!(read.is_err(), "the stream must not end by itself");
    }
}
