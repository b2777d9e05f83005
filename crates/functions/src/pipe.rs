//! What is read from descriptors that the runtime is told of only as far, and only as long, as it must be.
//!
//! The runtime wakes up for whatever it was told of, whether somebody waits for it or not, and a wake-up costs more than
//! most of what a short call does: the FDK alone writes to both streams with each of them. So a process's output is
//! waited for only while nothing else is (`process`); otherwise it is read along, without being asked. Of a connection
//! (`http`), only that something has come is of interest, not that it could take more.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest, ReadBuf};

/// The reading end of a pipe. New, it is waited for.
#[derive(Debug)]
pub(crate) struct Pipe {
    end: Arc<File>,
    /// While it is waited for.
    watched: Option<AsyncFd<Arc<File>>>,
}

impl Pipe {
    pub(crate) fn new(end: OwnedFd) -> io::Result<Pipe> {
        // SAFETY: plain system call on a descriptor that is ours.
        if unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let end = Arc::new(File::from(end));
        let watched = Some(watch(Arc::clone(&end))?);
        Ok(Pipe { end, watched })
    }

    /// From now on it is waited for. If the system cannot, it is read along as before.
    pub(crate) fn watch(&mut self) {
        if self.watched.is_none() {
            self.watched = watch(Arc::clone(&self.end)).ok();
        }
    }

    /// From now on nobody waits for it.
    pub(crate) fn leave(&mut self) {
        self.watched = None;
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watched.is_some()
    }

    /// Until there is something to read, or its end; never while it is not waited for.
    pub(crate) async fn readable(&self) {
        let ready = match &self.watched {
            Some(watched) => watched.readable().await.is_ok(),
            None => false,
        };
        if !ready {
            std::future::pending::<()>().await;
        }
    }

    /// Reads once after [`Pipe::readable`].
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.watched {
            Some(watched) => watched.try_io(Interest::READABLE, |end| (&**end).read(buffer)),
            None => (&*self.end).read(buffer),
        }
    }

    /// Reads what is in it right now, whatever the runtime knows of it yet: at the moment of an answer all that the
    /// function printed before is in there. Reads at most `bytes_max`.
    pub(crate) fn drain(&self, buffer: &mut [u8], bytes_max: usize, mut take: impl FnMut(&[u8])) {
        let mut total = 0;
        while total < bytes_max {
            match (&*self.end).read(buffer) {
                Ok(0) => return,
                Ok(read) => {
                    take(&buffer[..read]);
                    total += read;
                    if read < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// Only while it is waited for.
impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &self.watched {
            Some(watched) => poll_read(watched, context, buffer, |end, room| (&**end).read(room)),
            None => Poll::Ready(Err(io::Error::other("a pipe is read that nobody waits for"))),
        }
    }
}

/// A connection of which only the answer is still to come.
#[derive(Debug)]
pub(crate) struct Incoming(AsyncFd<UnixStream>);

impl Incoming {
    /// Of a connection that does not block.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Incoming> {
        watch(stream).map(Incoming)
    }
}

impl AsyncRead for Incoming {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        poll_read(&self.0, context, buffer, |mut stream, room| stream.read(room))
    }
}

fn watch<T: AsRawFd>(of: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: all that this is called with is always the same descriptor, and open until it is dropped.
    let watched = unsafe { AsyncFd::register_with_interest(of, Interest::READABLE) };
    watched.map_err(|error| error.into_parts().1)
}

fn poll_read<T: AsRawFd>(
    watched: &AsyncFd<T>,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
    read: impl Fn(&T, &mut [u8]) -> io::Result<usize>,
) -> Poll<io::Result<()>> {
    loop {
        let mut ready = ready!(watched.poll_read_ready(context))?;
        match ready.try_io(|watched| read(watched.get_ref(), buffer.initialize_unfilled())) {
            Ok(Ok(length)) => {
                buffer.advance(length);
                return Poll::Ready(Ok(()));
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Poll::Ready(Err(error)),
            // Nothing there after all; the runtime knows now.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn pair() -> (Pipe, std::io::PipeWriter) {
        let (ours, theirs) = std::io::pipe().unwrap();
        (Pipe::new(ours.into()).unwrap(), theirs)
    }

    fn drained(pipe: &Pipe, bytes_max: usize) -> String {
        let mut all = Vec::new();
        pipe.drain(&mut [0; 4], bytes_max, |bytes| all.extend_from_slice(bytes));
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn it_is_read_along_without_being_waited_for() {
        let (mut pipe, mut theirs) = pair();
        pipe.leave();
        assert_eq!(drained(&pipe, 100), "");
        theirs.write_all(b"some lines").unwrap();
        assert_eq!(drained(&pipe, 4), "some");
        assert_eq!(drained(&pipe, 100), " lines");
        assert!(!pipe.is_watched());
    }

    #[tokio::test]
    async fn what_came_before_it_was_waited_for_is_seen() {
        let (mut pipe, mut theirs) = pair();
        for text in ["first", "second"] {
            pipe.leave();
            theirs.write_all(text.as_bytes()).unwrap();
            pipe.watch();
            pipe.readable().await;
            let mut buffer = [0; 16];
            let length = pipe.try_read(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], text.as_bytes());
            assert_eq!(pipe.try_read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
        drop(theirs);
        pipe.readable().await;
        assert_eq!(pipe.try_read(&mut [0; 16]).unwrap(), 0);
    }

    #[tokio::test]
    async fn it_is_read_to_its_end() {
        let (mut pipe, mut theirs) = pair();
        let writing = std::thread::spawn(move || (0..100).for_each(|_| theirs.write_all(&[b'x'; 5_000]).unwrap()));
        let mut all = Vec::new();
        pipe.read_to_end(&mut all).await.unwrap();
        writing.join().unwrap();
        assert_eq!(all.len(), 500_000);
    }
}
