//! Listeners for syslog: over TLS and over RELP with TLS, where each line names its intake by a key, and over plain TCP and
//! UDP, bound to one intake, for devices that cannot do better.
//!
//! The story of some lines: read what is there ─▶ cut it ([`dialects::syslog::frames`], [`dialects::syslog::relp`]) ─▶ make
//! batches of it ([`dialects::syslog::accept()`]) ─▶ append, and wait until they are on stable storage ─▶ for RELP, say so
//! ─▶ read on. So a connection never has more in flight than it could read at once, a slow disk is felt by the sender,
//! and an acknowledgement stands for a sync. Without RELP a sender learns nothing: what is on its way when either side
//! breaks is lost, which is syslog's nature and not ours to mend.

mod reader;
mod relp;
mod stream;
mod udp;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use commit::{AppendError, LogState};
use dialects::Refusal;
use dialects::syslog::{Accepted, Received, Whose, accept};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::append::Pending;
use crate::budget::Permit;
use crate::handle::{Front, note};
use crate::server::{ACCEPT_PAUSE, HANDSHAKE_MAX, bind_tcp, stopped};

/// How lines come to a listener.
#[derive(Clone)]
pub enum Transport {
    /// Over TLS.
    Tls(Arc<rustls::ServerConfig>),
    /// Over RELP within TLS.
    Relp(Arc<rustls::ServerConfig>),
    /// Over TCP as it is.
    Tcp,
    /// In datagrams.
    Udp,
}

impl Transport {
    /// The word for it in logs.
    fn protocol(&self) -> &'static str {
        match self {
            Transport::Tls(_) => "syslog_tls",
            Transport::Relp(_) => "relp",
            Transport::Tcp => "syslog_tcp",
            Transport::Udp => "syslog_udp",
        }
    }
}

/// Where syslog comes in.
pub struct SyslogListener {
    socket: Socket,
    transport: Transport,
    whose: Whose,
}

enum Socket {
    Stream(TcpListener),
    Datagram(UdpSocket),
}

/// How long the disk may be full before it is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

impl SyslogListener {
    /// Takes the address. Port 0 takes a free port; [`SyslogListener::address`] tells which.
    pub fn bind(address: SocketAddr, transport: Transport, whose: Whose) -> io::Result<SyslogListener> {
        let socket = match transport {
            Transport::Udp => Socket::Datagram(udp::bind(address)?),
            _ => Socket::Stream(bind_tcp(address)?),
        };
        Ok(SyslogListener { socket, transport, whose })
    }

    /// The address that it listens on.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Socket::Stream(listener) => listener.local_addr(),
            Socket::Datagram(socket) => socket.local_addr(),
        }
    }

    /// Serves until `stop` says so, then lets what is in flight finish for up to `stop_max`. Each open connection takes one
    /// of `places`, which all listeners of a server share, and one of `syslog_places`, which those for syslog share.
    pub async fn serve(
        self,
        front: Arc<Front>,
        places: Arc<Semaphore>,
        syslog_places: Arc<Semaphore>,
        mut stop: watch::Receiver<bool>,
        stop_max: Duration,
    ) {
        let intake = Intake { front, whose: self.whose, protocol: self.transport.protocol(), stop: stop.clone() };
        let listener = match self.socket {
            Socket::Datagram(socket) => return udp::serve(socket, intake).await,
            Socket::Stream(listener) => listener,
        };
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, peer) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, protocol = intake.protocol, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
                () = stopped(&mut stop) => break,
            };
            // Connections of syslog may idle for days: half of all places are never theirs.
            let both = async {
                let own = Arc::clone(&syslog_places).acquire_owned().await.expect("the semaphore is never closed");
                let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
                (own, place)
            };
            let place = tokio::select! {
                place = both => place,
                () = stopped(&mut stop) => break,
            };
            let (intake, transport) = (intake.clone(), self.transport.clone());
            connections.spawn(async move {
                serve_connection(stream, peer.ip(), intake, transport).await;
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        let all_done = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(stop_max, all_done).await.is_err() {
            tracing::warn!(protocol = intake.protocol, "connections were cut off while lines were being stored");
        }
    }
}

async fn serve_connection(stream: TcpStream, peer: IpAddr, intake: Intake, transport: Transport) {
    // A sender may say nothing for days; one that is gone must not keep its place as long.
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
    let tls = match transport {
        Transport::Tcp | Transport::Udp => return stream::serve(stream, peer, intake).await,
        Transport::Tls(ref tls) | Transport::Relp(ref tls) => TlsAcceptor::from(Arc::clone(tls)),
    };
    let Ok(shaken) = intake.unless_stopped(tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream))).await else {
        return;
    };
    match shaken {
        Ok(Ok(stream)) if matches!(transport, Transport::Relp(_)) => relp::serve(stream, peer, intake).await,
        Ok(Ok(stream)) => stream::serve(stream, peer, intake).await,
        // Senders retry without a word to anybody; here it can be seen why.
        Ok(Err(error)) => {
            let refusal = Refusal::invalid(format!("The TLS handshake failed: {error}."));
            note(&intake.front, intake.protocol, peer, &refusal, http::StatusCode::BAD_REQUEST);
        }
        Err(_) => tracing::debug!(%peer, protocol = intake.protocol, "TLS handshake took too long"),
    }
}

const KEEPALIVE: Duration = Duration::from_secs(60);

/// What a listener's connections share.
#[derive(Clone)]
struct Intake {
    front: Arc<Front>,
    whose: Whose,
    protocol: &'static str,
    stop: watch::Receiver<bool>,
}

/// Nothing can be stored any more: the process is stopping, or its log has failed.
struct Gone;

impl Intake {
    /// Stores lines that came together, and gives those that are refused, by their index. Returns when all others are on
    /// stable storage, however long that takes: whoever sent them is not read from meanwhile. `is_known` is whether their
    /// connection had a good line before.
    async fn store(&self, lines: &[(IpAddr, Received)], is_known: &mut bool) -> Result<Vec<(usize, Refusal)>, Gone> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let bytes: usize = lines.iter().map(|(_, line)| line_bytes(line) * 2 + LINE_BYTES).sum();
        let _room = self.room(&self.front.memory.work, bytes).await?;
        let front = &self.front;
        let snapshot = front.snapshot.load_full();
        let accepted = accept(lines, &self.whose, &snapshot, (front.now)(), &mut || front.next_id());
        let Accepted { batches, refused } = accepted;
        if !batches.is_empty() {
            *is_known = true;
            let pending = Pending::of(self.protocol, batches, None).map_err(|_| Gone)?;
            self.append(pending).await?;
        }
        // After the others, whose success says that a sender is well.
        self.note_refused(lines, &refused, *is_known).await?;
        Ok(refused)
    }

    /// Counts what was refused, and says it once for each sender and kind: there may be thousands of such lines in one read.
    /// Where a connection had no good line yet and keys were tried that are none, waits as HTTP does: a forwarder speaks for
    /// many intakes, and the others must not wait for one that was deleted.
    async fn note_refused(
        &self,
        lines: &[(IpAddr, Received)],
        refused: &[(usize, Refusal)],
        is_known: bool,
    ) -> Result<(), Gone> {
        let mut kinds: Vec<(IpAddr, Refusal)> = Vec::new();
        let mut places = HashMap::new();
        let mut delay = None;
        for (index, refusal) in refused {
            let peer = lines[*index].0;
            let place = *places.entry((peer, refusal.sender.as_deref(), refusal.cause)).or_insert_with(|| {
                kinds.push((peer, Refusal { records: Some(0), ..refusal.clone() }));
                kinds.len() - 1
            });
            kinds[place].1.records = kinds[place].1.records.map(|records| records + 1);
            if let Some(guessed) = refusal.guessed {
                delay = delay.max(self.front.guesses.failed(peer, guessed, tokio::time::Instant::now()));
            }
        }
        for (peer, refusal) in &kinds {
            note(&self.front, self.protocol, *peer, refusal, dialects::sekoia::status_of(refusal.cause));
            if refusal.instance.is_none() {
                // Noted as one.
                self.front.ledger.more_strangers_refused(refusal.records.unwrap_or(1).saturating_sub(1));
            }
        }
        match delay.filter(|_| !is_known) {
            Some(delay) => self.unless_stopped(tokio::time::sleep(delay)).await,
            None => Ok(()),
        }
    }

    /// Whether the server is to stop.
    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Whether nothing can be stored any more, by anybody.
    fn is_over(&self) -> bool {
        self.is_stopping() || matches!(self.front.log.status().state, LogState::Failed { .. } | LogState::Closed)
    }

    async fn append(&self, pending: Pending) -> Result<(), Gone> {
        let Pending { frame, tallies, .. } = pending;
        let id = frame.id;
        loop {
            match self.front.log.append(frame.clone()).await {
                Ok(appended) => {
                    tallies.count(&self.front.ledger, &appended, id);
                    return Ok(());
                }
                Err(AppendError::Full) => self.unless_stopped(tokio::time::sleep(FULL_PAUSE)).await?,
                Err(AppendError::Failed { .. } | AppendError::Closed) => return Err(Gone),
                Err(error @ AppendError::TooLarge { .. }) => {
                    tracing::error!(%error, protocol = self.protocol, "lines that were read at once do not fit the log");
                    return Err(Gone);
                }
            }
        }
    }

    /// A part of the budget, however long it takes to get it.
    async fn room(&self, budget: &crate::budget::Budget, bytes: usize) -> Result<Permit, Gone> {
        loop {
            let taken = self.unless_stopped(budget.take(None, bytes, ROOM_WAIT)).await?;
            if let Ok(permit) = taken {
                return Ok(permit);
            }
        }
    }

    async fn unless_stopped<T>(&self, waiting: impl Future<Output = T>) -> Result<T, Gone> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            // What can be finished is.
            done = waiting => Ok(done),
            () = stopped(&mut stop) => Err(Gone),
        }
    }

    /// The longest frame that is read.
    fn frame_bytes_max(&self) -> usize {
        dialects::syslog::frame_bytes_max(&self.front.snapshot.load().limits)
    }
}

/// How long room is waited for in one go: nobody has to be told meanwhile, and who asks anew stands at the end again.
const ROOM_WAIT: Duration = Duration::from_secs(3_600);

/// What a line costs beside its bytes until it is stored: a record, its header as labels, a batch of its own at worst.
const LINE_BYTES: usize = 2 << 10;

fn line_bytes(line: &Received) -> usize {
    match line {
        Received::Line(bytes) => bytes.len(),
        Received::TooLong { head, .. } => head.len(),
    }
}
