//! A connection of lines, with or without TLS.

use std::net::IpAddr;

use dialects::syslog::frames::{Frame, Frames};
use dialects::syslog::{Received, Whose};
use tokio::io::AsyncRead;

use super::Intake;
use super::reader::{End, Reader};

/// Serves one connection until it ends.
pub(super) async fn serve<S: AsyncRead + Unpin>(mut stream: S, peer: IpAddr, intake: Intake) {
    let mut frames = match intake.whose {
        Whose::Keyed => Frames::new(intake.frame_bytes_max()),
        // Nothing can be out of step where everything is taken.
        Whose::Bound { .. } => Frames::lenient(intake.frame_bytes_max()),
    };
    let mut reader = Reader::default();
    let mut is_known = false;
    loop {
        let bytes = match reader.read(&mut stream, frames.buffered(), &intake).await {
            Ok(bytes) => bytes,
            Err(End::Gone) => return,
            // Some devices end a line only when they write the next one.
            Err(End::Stalled) => {
                let lines: Vec<_> = frames.end().map(|frame| (peer, received(frame))).into_iter().collect();
                tracing::debug!(%peer, protocol = intake.protocol, lines = lines.len(), "the end of a line did not come");
                let _ = intake.store(&lines, &mut is_known).await;
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
            let _ = intake.store(&lines, &mut is_known).await;
            return;
        }
        reader.progressed(!lines.is_empty());
        if intake.store(&lines, &mut is_known).await.is_err() {
            return;
        }
        drop(lines);
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
