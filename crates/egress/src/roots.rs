//! The certificates of authorities that a system trusts, where systems keep them. One list for everything that goes out.
//! Absent: the environment's `SSL_CERT_FILE`, since a server's trust is said in its configuration.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};

/// The first that there is of the files in which systems keep what they trust.
pub fn system_roots() -> Option<&'static Path> {
    const FILES: [&str; 7] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
        "/usr/local/share/certs/ca-root-nss.crt",
    ];
    FILES.iter().map(Path::new).find(|path| path.exists())
}

/// Adds the certificates in a PEM file.
pub fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), pem::Error> {
    for certificate in CertificateDer::pem_file_iter(path)? {
        // A system's list holds certificates older than the rules of today; those are left out, as by every client.
        let _ = roots.add(certificate?);
    }
    Ok(())
}
