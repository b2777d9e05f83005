//! One HTTP/1.1 call over a unix socket, by hand: one connect, one write, the answer, close.
//!
//! The FDK spins on a connection that is kept, so none is; without connections to keep, a client library would only
//! add tasks and wake-ups. What the socket takes at once is sent without asking the runtime, and only the answer is waited
//! for. The socket is reached through a handle that was opened once: the process cannot point us
//! elsewhere later by putting a link in its place.

use std::fmt::Write as _;
use std::io::{self, IoSlice, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use socket2::{Domain, SockAddr, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX};
use crate::pipe::Incoming;

/// A socket that somebody listens on.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Keeps the address below valid.
    _handle: OwnedFd,
    address: SockAddr,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("the connection was closed before an answer")]
    Closed,
    #[error("the answer is no HTTP: {0}")]
    NotHttp(String),
    #[error("the answer is too large")]
    TooLarge,
}

impl Socket {
    /// The socket `lsnr.sock` of a folder. A link must stay within the folder, as Fn demands it.
    pub(crate) fn open(dir: &Path) -> Result<Socket, String> {
        use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
        let listener = dir.join("lsnr.sock");
        let name = match std::fs::read_link(&listener) {
            Ok(target) if target.components().count() == 1 && target.file_name().is_some() => target,
            Ok(target) => return Err(format!("its listener is a link to {}, outside of its folder", target.display())),
            Err(_) => "lsnr.sock".into(),
        };
        let opened = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
            .open(dir.join(name))
            .map_err(|error| format!("its listener: {error}"))?;
        if !opened.metadata().is_ok_and(|meta| meta.file_type().is_socket()) {
            return Err("its listener is no socket".to_owned());
        }
        let address = SockAddr::unix(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        Ok(Socket { address: address.map_err(|error| format!("its listener: {error}"))?, _handle: opened.into() })
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) async fn call(&self, head: &[u8], body: &Bytes) -> Result<Response, CallError> {
        let stream = self.connect()?;
        let (answer, written) = match write_now(&stream, head, body) {
            Ok(sent) if sent < head.len() + body.len() => {
                let mut stream = tokio::net::UnixStream::from_std(stream)?;
                let written = write_rest(&mut stream, head, body, sent).await;
                (read(&mut stream).await, written)
            }
            written => (read(&mut Incoming::new(stream)?).await, written.map(drop)),
        };
        // An FDK that has its answer before it has read everything closes early; then the answer counts.
        match answer {
            Err(CallError::Closed) => Err(written.err().map_or(CallError::Closed, CallError::Io)),
            other => other,
        }
    }

    /// A connection that does not block. It does not block on being made either: where the process's backlog is full,
    /// because it fills it itself, it is refused.
    fn connect(&self) -> io::Result<UnixStream> {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.address)?;
        Ok(OwnedFd::from(socket).into())
    }
}

/// The request's head.
pub(crate) fn head(
    call_id: &str,
    deadline: &str,
    content_type: &str,
    length: usize,
    more: &[(String, String)],
) -> String {
    let mut head = String::with_capacity(256);
    let _ = write!(
        head,
        "POST /call HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nFn-Call-Id: {call_id}\r\n\
         Fn-Deadline: {deadline}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n"
    );
    for (name, value) in more {
        const OURS: [&str; 8] = [
            "host",
            "connection",
            "fn-call-id",
            "fn-deadline",
            "content-type",
            "content-length",
            "transfer-encoding",
            "expect",
        ];
        let ours = OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours));
        if !ours && is_header_name(name) && is_header_value(value) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
    }
    head.push_str("\r\n");
    head
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte))
}

/// No character that could end the line.
pub(crate) fn is_header_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7F))
}

/// Sends what the socket takes at once; how much that was.
fn write_now(mut stream: &UnixStream, head: &[u8], body: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < head.len() + body.len() {
        let (head, body) = rest(head, body, sent);
        match stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => sent += taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

async fn write_rest(stream: &mut tokio::net::UnixStream, head: &[u8], body: &[u8], sent: usize) -> io::Result<()> {
    let (head, body) = rest(head, body, sent);
    stream.write_all(head).await?;
    stream.write_all(body).await
}

/// What is left of a request of which so much has been sent.
fn rest<'a>(head: &'a [u8], body: &'a [u8], sent: usize) -> (&'a [u8], &'a [u8]) {
    (&head[sent.min(head.len())..], &body[sent.saturating_sub(head.len())..])
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Response, CallError> {
    let mut buffer = BytesMut::with_capacity(4 << 10);
    let (status, headers) = loop {
        if let Some((length, status, headers)) = parse_head(&buffer)? {
            let _ = buffer.split_to(length);
            // 1xx: the answer is still to come.
            if status >= 200 {
                break (status, headers);
            }
            continue;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(CallError::TooLarge);
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(CallError::Closed);
        }
    };
    let find = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.trim());
    let body = if find("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        read_chunks(stream, buffer).await?
    } else if matches!(status, 204 | 304) {
        Bytes::new()
    } else if let Some(length) = find("content-length") {
        let length: usize = length.parse().map_err(|_| CallError::NotHttp(format!("Content-Length {length:?}")))?;
        if length > BODY_BYTES_MAX {
            return Err(CallError::TooLarge);
        }
        buffer.reserve(length.saturating_sub(buffer.len()));
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(CallError::Closed);
            }
        }
        buffer.truncate(length);
        buffer.freeze()
    } else {
        while stream.read_buf(&mut buffer).await? > 0 {
            if buffer.len() > BODY_BYTES_MAX {
                return Err(CallError::TooLarge);
            }
        }
        buffer.freeze()
    };
    const OF_THE_CONNECTION: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "content-length"];
    let headers = headers.into_iter().filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str())).collect();
    Ok(Response { status, headers, body })
}

type Head = (usize, u16, Vec<(String, String)>);

fn parse_head(bytes: &[u8]) -> Result<Option<Head>, CallError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes).map_err(|error| CallError::NotHttp(error.to_string()))? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(length) => {
            let status = response.code.unwrap_or_default();
            let text = |header: &httparse::Header<'_>| {
                (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
            };
            Ok(Some((length, status, response.headers.iter().map(text).collect())))
        }
    }
}

async fn read_chunks(stream: &mut (impl AsyncRead + Unpin), mut buffer: BytesMut) -> Result<Bytes, CallError> {
    let mut body = BytesMut::new();
    loop {
        match httparse::parse_chunk_size(&buffer) {
            Ok(httparse::Status::Complete((at, 0))) => {
                // Trailers say nothing that is needed, and the connection ends with them.
                let _ = buffer.split_to(at);
                return Ok(body.freeze());
            }
            Ok(httparse::Status::Complete((at, size))) => {
                let size = usize::try_from(size).map_err(|_| CallError::TooLarge)?;
                if size > BODY_BYTES_MAX - body.len() {
                    return Err(CallError::TooLarge);
                }
                let _ = buffer.split_to(at);
                while buffer.len() < size + 2 {
                    if stream.read_buf(&mut buffer).await? == 0 {
                        return Err(CallError::Closed);
                    }
                }
                body.extend_from_slice(&buffer.split_to(size));
                let _ = buffer.split_to(2);
            }
            Ok(httparse::Status::Partial) => {
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Err(CallError::Closed);
                }
            }
            Err(_) => return Err(CallError::NotHttp("a chunk's size is no number".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Incoming, tokio::net::UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        for end in [&ours, &theirs] {
            end.set_nonblocking(true).unwrap();
        }
        (Incoming::new(ours).unwrap(), tokio::net::UnixStream::from_std(theirs).unwrap())
    }

    /// What an answer on the wire is read as: status and body, or the error's beginning.
    async fn check(wire: &str, expected: Result<(u16, &str), &str>) {
        // Once whole, once byte by byte: tearing changes nothing.
        for step in [wire.len().max(1), 1] {
            let (mut ours, mut theirs) = pair();
            let bytes = wire.as_bytes().to_vec();
            let writer = tokio::spawn(async move {
                for chunk in bytes.chunks(step) {
                    if theirs.write_all(chunk).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            });
            let got = read(&mut ours).await;
            drop(ours);
            writer.await.unwrap();
            match (&got, &expected) {
                (Ok(response), Ok((status, body))) => {
                    assert_eq!((response.status, &response.body[..]), (*status, body.as_bytes()), "{wire:?}");
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{wire:?}: {error}"),
                _ => panic!("{wire:?}: {got:?}, expected {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn answers() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Ok((200, "hi"))).await;
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", Ok((502, ""))).await;
        check("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", Ok((200, "to the end"))).await;
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\n yo\r\n0\r\n\r\n",
            Ok((200, "hi yo")),
        )
        .await;
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", Err("closed")).await;
        check("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", Err("too large")).await;
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n", Err("too large")).await;
        check("", Err("closed")).await;
        check("nonsense\r\n\r\n", Err("no HTTP")).await;
    }

    /// Calls a socket with a body of this length; what came there, and what came back.
    async fn exchange(body_len: usize) -> (Vec<u8>, Result<Response, CallError>) {
        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(dir.path().join("lsnr.sock")).unwrap();
        let socket = Socket::open(dir.path()).unwrap();
        let body = Bytes::from(vec![b'x'; body_len]);
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; "head ".len() + body_len];
            stream.read_exact(&mut seen).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            seen
        };
        tokio::join!(serve, socket.call(b"head ", &body))
    }

    #[tokio::test]
    async fn requests_go_out_whole_whatever_the_socket_takes_at_once() {
        for body_len in [0, 10, 100_000, BODY_BYTES_MAX] {
            let (seen, answer) = exchange(body_len).await;
            let answer = answer.unwrap();
            assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
            assert!(seen == [b"head ".to_vec(), vec![b'x'; body_len]].concat(), "{body_len}");
        }
    }

    #[tokio::test]
    async fn nobody_listens_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(dir.path().join("lsnr.sock")).unwrap();
        let socket = Socket::open(dir.path()).unwrap();
        drop(listener);
        assert!(matches!(socket.call(b"x", &Bytes::new()).await, Err(CallError::Io(_))));
    }

    #[test]
    fn nobody_slips_in_a_header() {
        let more = [
            ("Fn-Intent", "httprequest"),
            ("fn-call-id", "other"),
            ("X", "a\r\nY: b"),
            ("Bad name", "x"),
            ("Content-Length", "5"),
        ];
        let more: Vec<(String, String)> =
            more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(
            head("C1", "2026-11-21T00:00:00Z", "application/json", 3, &more),
            "POST /call HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nFn-Call-Id: C1\r\n\
             Fn-Deadline: 2026-11-21T00:00:00Z\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\
             Fn-Intent: httprequest\r\n\r\n"
        );
    }
}
