//! Over TLS: a receiver whose certificate is trusted gets its logs, another one is named at once. The certificates in
//! `tls/` were made for tests alone (`localhost` and 127.0.0.1, until 2120); their key protects nothing.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use penstock_client::{Chronicle, Credentials, Error, SecOpsClient, Who};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::world::{TestClock, instance};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name)
}

/// Answers 200 to every import; gives its port.
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
            // The end of an import's body; nothing before it reads like this.
            while !request.ends_with(b"}]}}") && stream.read_buf(&mut request).await.is_ok_and(|count| count > 0) {}
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

fn chronicle(host: &str, port: u16, ca_file: Option<&str>, clock: &Arc<TestClock>) -> Chronicle {
    let mut client = SecOpsClient::builder()
        .credentials(Credentials::bearer("tok"))
        .base_url(format!("https://{host}:{port}"))
        .proxies(false)
        .clock(clock.clone());
    if let Some(ca_file) = ca_file {
        client = client.ca_file(file(ca_file));
    }
    instance(client)
}

#[tokio::test]
async fn a_receiver_of_a_ca_of_ones_own() {
    let clock = TestClock::new();
    for host in ["localhost", "127.0.0.1"] {
        let chronicle = chronicle(host, serve().await, Some("ca.pem"), &clock);
        chronicle.ingest_log("OKTA", "x").await.unwrap();
    }
}

#[tokio::test]
async fn a_receiver_that_nobody_vouches_for_is_named_at_once() {
    let clock = TestClock::new();
    // Without its CA, and with a certificate that is no authority.
    for ca_file in [None, Some("leaf.pem")] {
        let error = chronicle("127.0.0.1", serve().await, ca_file, &clock).ingest_log("OKTA", "x").await.unwrap_err();
        assert!(matches!(error, Error::Untrusted(_)), "{error:?}");
        assert_eq!(error.who(), Who::Operator);
    }
    assert_eq!(clock.waits().len(), 0, "time does not heal it");
}

#[tokio::test]
async fn a_ca_file_that_holds_none_is_named() {
    for name in ["no-such.pem", "leaf.key"] {
        let client = SecOpsClient::builder().credentials(Credentials::bearer("tok")).ca_file(file(name));
        let error = client.build().unwrap_err();
        assert!(matches!(error, Error::Setup(_)) && error.to_string().contains(name), "{error}");
    }
}
