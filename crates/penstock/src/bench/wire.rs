//! A lean HTTP/1.1 client on one kept-alive TCP connection: write prepared bytes, read status and body. The load
//! generator shares its two cores with the server, and a full client library would take from the server what it measures.
//!
//! No TLS, no redirects, no pipelining: requests go to a server of ours.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port as they stand in the URL; goes into `Host` and is what is dialled.
    pub authority: String,
}

impl Endpoint {
    /// Reads `http://HOST[:PORT][/]`. `https` is refused: encrypting the load would cost as much as the server's part.
    pub fn parse(url: &str) -> anyhow::Result<Endpoint> {
        if url.starts_with("https://") {
            bail!("bench speaks plain http only, so that the client stays cheap; {url} asks for https");
        }
        let rest = url.strip_prefix("http://").with_context(|| format!("{url} is no http:// URL"))?;
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
            bail!("{url}: expected http://HOST:PORT without a path");
        }
        let has_port = authority.rsplit(']').next().is_some_and(|after| after.contains(':'));
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Endpoint { authority })
    }

    /// The head of a request with a body of `length` bytes, ready to be followed by that body.
    pub fn head(&self, method: &str, path: &str, authorization: Option<&str>, gzip: bool, length: usize) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.authority);
        if let Some(authorization) = authorization {
            head.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        if gzip {
            head.push_str("Content-Encoding: gzip\r\n");
        }
        if method == "POST" {
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"));
        }
        head.push_str("\r\n");
        head
    }
}

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Retry-After`, where it was given in seconds.
    pub retry_after: Option<Duration>,
    /// The body without its transfer coding.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text, cut for a message.
    pub fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(600).collect()
    }
}

/// One kept-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    open: bool,
}

impl Connection {
    /// Dials.
    pub async fn open(endpoint: &Endpoint) -> io::Result<Connection> {
        let stream = TcpStream::connect(&endpoint.authority).await?;
        // Head and body may go in two writes; without this the second would wait for the first one's acknowledgement.
        stream.set_nodelay(true)?;
        Ok(Connection { stream, received: Vec::with_capacity(4096), open: true })
    }

    /// Whether the other side has not said that it closes.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Sends a prepared request and reads its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.received.clear();
        let head = loop {
            if let Some(head) = Head::read(&self.received)? {
                // 100 Continue and its kind announce the real answer.
                if head.status >= 200 {
                    break head;
                }
                self.received.drain(..head.bytes);
            } else if self.more().await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed without an answer"));
            }
        };
        self.open = !head.closes;
        let body = loop {
            let after = &self.received[head.bytes..];
            let whole = match head.framing {
                Framing::Length(length) => (after.len() >= length).then(|| after[..length].to_vec()),
                Framing::Chunked => dechunk(after)?,
                Framing::ToTheEnd => None,
            };
            if let Some(body) = whole {
                break body;
            }
            if self.more().await? == 0 {
                if head.framing == Framing::ToTheEnd {
                    break self.received[head.bytes..].to_vec();
                }
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed within an answer"));
            }
        };
        Ok(Answer { status: head.status, retry_after: head.retry_after, body })
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.received).await
    }
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    bytes: usize,
    status: u16,
    framing: Framing,
    retry_after: Option<Duration>,
    closes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    ToTheEnd,
}

impl Head {
    /// `None` while the head is not whole.
    fn read(bytes: &[u8]) -> io::Result<Option<Head>> {
        let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| invalid("an answer's head is not text"))?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1."))
            .and_then(|rest| rest.get(2..5))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| invalid("the other side does not speak HTTP/1"))?;
        let mut head = Head { bytes: end + 4, status, framing: Framing::ToTheEnd, retry_after: None, closes: false };
        if status < 200 || status == 204 || status == 304 {
            head.framing = Framing::Length(0);
        }
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(|_| invalid("an answer's Content-Length is no number"))?;
                head.framing = Framing::Length(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
                head.framing = Framing::Chunked;
            } else if name.eq_ignore_ascii_case("retry-after") {
                head.retry_after = value.parse().ok().map(Duration::from_secs);
            } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
                head.closes = true;
            }
        }
        head.closes |= head.framing == Framing::ToTheEnd;
        Ok(Some(head))
    }
}

/// Takes the chunks apart; `None` while the last one has not come.
fn dechunk(mut bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(line_end) = find(bytes, b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[..line_end])
            .ok()
            .and_then(|line| usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).ok())
            .ok_or_else(|| invalid("a chunk's size is no hexadecimal number"))?;
        let data = &bytes[line_end + 2..];
        if size == 0 {
            // Trailers are of no interest, but the connection is free only after them.
            let whole = data.starts_with(b"\r\n") || find(data, b"\r\n\r\n").is_some();
            return Ok(whole.then_some(body));
        }
        let Some(rest) = data.get(size + 2..) else { return Ok(None) };
        body.extend_from_slice(&data[..size]);
        bytes = rest;
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn endpoints() {
        for (url, expected) in [
            ("http://127.0.0.1:8480", Some("127.0.0.1:8480")),
            ("http://localhost/", Some("localhost:80")),
            ("http://[::1]:9", Some("[::1]:9")),
            ("http://[::1]", Some("[::1]:80")),
            ("https://127.0.0.1:8480", None),
            ("127.0.0.1:8480", None),
            ("http://host/path", None),
            ("http://", None),
        ] {
            let found = Endpoint::parse(url).ok().map(|endpoint| endpoint.authority);
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn answers_are_read_whole_however_they_come() {
        let answer = |status, body: &str| Answer { status, retry_after: None, body: body.as_bytes().to_vec() };
        let table = [
            (vec!["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"], answer(200, "{}"), true),
            (vec!["HTTP/1.1 200 OK\r\ncontent-le", "ngth: 4\r\n\r", "\n{", "}\r\n"], answer(200, "{}\r\n"), true),
            (
                vec![
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                    "2;x=y\r\nde\r\n0\r\n",
                    "\r\n",
                ],
                answer(200, "abcde"),
                true,
            ),
            (vec!["HTTP/1.1 400 Bad\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"], answer(400, "x"), false),
            (vec!["HTTP/1.0 200 OK\r\n\r\nall", " of it", ""], answer(200, "all of it"), false),
            (vec!["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n"], answer(204, ""), true),
            (
                vec!["HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"],
                Answer { retry_after: Some(Duration::from_secs(30)), ..answer(429, "") },
                true,
            ),
        ];
        for (pieces, expected, open) in table {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = Endpoint { authority: listener.local_addr().unwrap().to_string() };
            let written = pieces.clone();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0u8; 4];
                stream.read_exact(&mut request).await.unwrap();
                for piece in written {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
                stream.shutdown().await.unwrap();
                stream
            });
            let mut connection = Connection::open(&endpoint).await.unwrap();
            assert_eq!(connection.exchange(b"ping").await.unwrap(), expected, "{pieces:?}");
            assert_eq!(connection.is_open(), open, "{pieces:?}");
            server.await.unwrap();
        }
    }

    #[tokio::test]
    async fn half_an_answer_is_an_error() {
        for piece in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "SSH-2.0-x\r\n\r\n"]
        {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = Endpoint { authority: listener.local_addr().unwrap().to_string() };
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0u8; 4];
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(piece.as_bytes()).await.unwrap();
            });
            let mut connection = Connection::open(&endpoint).await.unwrap();
            assert!(connection.exchange(b"ping").await.is_err(), "{piece:?}");
            server.await.unwrap();
        }
    }
}
