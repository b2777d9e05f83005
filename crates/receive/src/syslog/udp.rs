//! Lines in datagrams. Nobody can be told to slow down: while lines are being stored, the kernel's buffer is all there is,
//! so it is made large, and all that waits in it is stored at once.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use dialects::syslog::Received;
use tokio::net::UdpSocket;

use super::Intake;
use crate::server::ACCEPT_PAUSE;

/// What the kernel is asked to keep for us; it gives what its settings allow.
const KERNEL_BYTES: usize = 8 << 20;

/// Most datagrams and bytes that are stored at once.
const DATAGRAMS_MAX: usize = 4_096;
const BYTES_MAX: usize = 1 << 20;

/// The largest datagram there can be.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// Takes the address.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // As much as there is; less is not worth failing for.
    let _ = socket.set_recv_buffer_size(KERNEL_BYTES);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Serves until the process stops.
pub(super) async fn serve(socket: UdpSocket, intake: Intake) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (length, peer) = match intake.unless_stopped(socket.recv_from(&mut buffer)).await {
            Err(_) => return,
            Ok(Ok(received)) => received,
            Ok(Err(error)) => {
                tracing::warn!(%error, protocol = intake.protocol, "cannot receive");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let mut lines = Vec::new();
        let mut bytes = 0;
        let mut next = Some((length, peer));
        while let Some((length, peer)) = next {
            bytes += length;
            lines.push((peer.ip(), Received::Line(Bytes::copy_from_slice(&buffer[..length]))));
            let has_room = lines.len() < DATAGRAMS_MAX && bytes < BYTES_MAX;
            next = if has_room { socket.try_recv_from(&mut buffer).ok() } else { None };
        }
        // A port that went deaf without a word would be worse than lines that are lost with one, in the log.
        // Nobody waits here for an answer, so nobody can be made to.
        if intake.store(&lines, &mut true).await.is_err() && intake.is_over() {
            return;
        }
    }
}
