//! A RELP session: lines with acknowledgements, each of which stands for a sync.
//!
//! A line that can never be taken is answered with an error, after which librelp drops it and tears the session down; what
//! it had not read acknowledgements for comes again, so such lines are kept twice. Saying yes to what is not kept would be
//! worse. What cannot be taken for now is not answered at all: the sender keeps it.

use std::net::IpAddr;

use bytes::BytesMut;
use dialects::syslog::Received;
use dialects::syslog::relp::{self, Command, SERVERCLOSE, Session};
use event::limits;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Intake;
use super::reader::{End, Reader};

/// Serves one session until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, peer: IpAddr, intake: Intake) {
    let mut session = Session::new(intake.frame_bytes_max());
    let mut reader = Reader::default();
    let mut is_known = false;
    loop {
        let bytes = match reader.read(&mut stream, session.buffered(), &intake).await {
            Ok([]) | Err(End::Gone | End::Stalled) => return,
            Ok(bytes) => bytes,
            Err(End::Broken(error)) => {
                tracing::debug!(%peer, protocol = intake.protocol, %error, "session ended early");
                return;
            }
        };
        session.push(bytes);
        let mut commands = Vec::new();
        let broken = loop {
            match session.next_command() {
                Ok(Some(command)) => commands.push(command),
                Ok(None) => break None,
                Err(broken) => break Some(broken),
            }
        };
        reader.progressed(!commands.is_empty());
        let is_closed = commands.iter().any(|command| matches!(command, Command::Close { .. }));
        let Some(mut answers) = answer(commands, peer, &intake, &mut is_known).await else { return };
        if let Some(broken) = &broken {
            tracing::warn!(%peer, protocol = intake.protocol, %broken, "what was sent is no RELP; the session is closed");
            answers.extend(broken.txnr.map(|txnr| relp::failed(txnr, &broken.to_string())).into_iter().flatten());
        }
        let sent = tokio::time::timeout(limits::WRITE_STALL_MAX, async {
            stream.write_all(&answers).await?;
            stream.flush().await
        });
        if !matches!(sent.await, Ok(Ok(()))) || is_closed || broken.is_some() {
            let _ = stream.shutdown().await;
            return;
        }
        reader.pay(session.buffered(), &intake).await;
    }
}

/// Does what the commands want, and gives the answers in their order; `None` when nothing can be stored any more.
async fn answer(commands: Vec<Command>, peer: IpAddr, intake: &Intake, is_known: &mut bool) -> Option<BytesMut> {
    let lines: Vec<(IpAddr, Received)> = commands
        .iter()
        .filter_map(|command| match command {
            Command::Syslog { data, .. } => Some(Received::Line(data.clone())),
            Command::TooLong { bytes, head, .. } => Some(Received::TooLong { bytes: *bytes, head: head.clone() }),
            Command::Open { .. } | Command::Unknown { .. } | Command::Close { .. } => None,
        })
        .map(|line| (peer, line))
        .collect();
    let refused = intake.store(&lines, is_known).await.ok()?;
    let mut refused = refused.into_iter().peekable();
    let mut answers = BytesMut::new();
    let mut index = 0;
    for command in commands {
        let txnr = command.txnr();
        match command {
            Command::Open { .. } => answers.extend_from_slice(&relp::opened(txnr)),
            Command::Syslog { .. } | Command::TooLong { .. } => {
                let answer = match refused.next_if(|(refused, _)| *refused == index) {
                    Some((_, refusal)) => relp::failed(txnr, &refusal.message),
                    None => relp::ok(txnr),
                };
                answers.extend_from_slice(&answer);
                index += 1;
            }
            Command::Unknown { command, .. } => {
                answers.extend_from_slice(&relp::failed(txnr, &format!("the command {command} is not known")));
            }
            Command::Close { .. } => {
                answers.extend_from_slice(&relp::ok(txnr));
                answers.extend_from_slice(SERVERCLOSE);
            }
        }
    }
    Some(answers)
}
