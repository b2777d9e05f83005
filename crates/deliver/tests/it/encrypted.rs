//! Over TLS: a target whose certificate is trusted gets its records, another one does not. The certificates in `tls/`
//! were made for these tests alone (`localhost` and 127.0.0.1, until 2120); their key protects nothing.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use deliver::{ConnectorState, Deliver, Surroundings};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::world::{World, connector, raw, read_frames, until, waits};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name)
}

/// Answers 200 to every request; gives its port.
async fn serve() -> u16 {
    let chain = CertificateDer::pem_file_iter(file("leaf.pem")).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(file("leaf.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            // The body is an array, and nothing before it ends in one.
            while !request.ends_with(b"}]") {
                if stream.read_buf(&mut request).await.is_ok_and(|count| count > 0) {
                    continue;
                }
                break;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

async fn start(world: &World, host: &str, ca_file: PathBuf) -> Deliver {
    let surroundings = Surroundings { clock: world.clock.clone(), ca_file: Some(ca_file), ..Surroundings::default() };
    let dir = world.dir.path().join("deliver");
    let deliver =
        Deliver::open_with(&dir, world.log.clone(), read_frames(), world.schema.clone(), surroundings).unwrap();
    world.append(raw(["one"])).await;
    let url = format!("https://{host}:{}/", serve().await);
    world.apply(&deliver, &[connector(&url)]).await;
    deliver
}

#[tokio::test]
async fn a_trusted_target() {
    for host in ["localhost", "127.0.0.1"] {
        let world = World::new();
        let deliver = start(&world, host, file("ca.pem")).await;
        until(&deliver, |status| status.written == 1).await;
    }
}

#[tokio::test]
async fn a_target_that_nobody_vouches_for() {
    // Only the server's own certificate is trusted, which is no authority over itself.
    let world = World::new();
    let deliver = start(&world, "127.0.0.1", file("leaf.pem")).await;
    let status = until(&deliver, waits).await;
    let ConnectorState::Waiting { reason, .. } = &status.state else { unreachable!() };
    assert!(reason.contains("certificate"), "{reason}");
    assert_eq!((status.written, status.dead_letters), (0, 0));
}
