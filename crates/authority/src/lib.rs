//! A private certificate authority: makes itself, and a certificate for each host that we stand in for; [`Hosts`] keeps
//! these as the settings of a TLS server. [`Begun`] is a connection on which something was read before its TLS.
//!
//! There are two kinds. The one behind the googleapis listener is for one domain: a program that is told to trust it gives
//! up little, since its certificate is limited to names under that domain, to no IP address, and to no further
//! authorities, and every TLS library holds it to that. The one that functions meet on their way out is for any host, so
//! nobody but they may be told to trust it. Certificates are as Python 3.13 wants them (`VERIFY_X509_STRICT`). Times are
//! arguments; the keys alone are random. Where an authority is kept on disk is the binary's business. Absent: revocation
//! (certificates live a month and are ours alone) and foreign authorities (an issuer is not read from its certificate but
//! known, so only what was made here can sign here).

mod begun;
mod hosts;

use std::net::IpAddr;

pub use begun::Begun;
use event::Time;
pub use hosts::{Hosts, Sessions};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

const DAY_SECS: i64 = 86_400;

/// How long an authority lives. Programs are told of it by hand, so not shorter than a machine.
const AUTHORITY_SECS: i64 = 3_650 * DAY_SECS;

/// How long a host's certificate lives; a new one is made after half of it. Some clients refuse more than 397 days.
const LEAF_SECS: i64 = 30 * DAY_SECS;

/// How far back certificates begin, for clients whose clock is behind.
const BEFORE_SECS: i64 = DAY_SECS;

/// What an authority may sign for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Names under this domain; its certificate says so.
    Under(&'static str),
    /// Every name and address.
    Any,
}

/// A certificate authority with its key.
pub struct Authority {
    names: Names,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    expires_at: Time,
}

/// A host's certificate with its key.
pub struct Leaf {
    /// The certificate, signed by the authority.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// When another one should be made.
    pub renew_at: Time,
}

/// Why there is no authority or certificate, sorted by who must act.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The operator: the text is not one private key and one certificate.
    #[error("it does not hold one private key and one certificate in PEM: {0}")]
    Text(&'static str),
    /// The operator: key and certificate are not of each other, or of no authority that was made here.
    #[error("its key and certificate do not go together, or were not made by Penstock")]
    Mismatch,
    /// The operator: its time is over.
    #[error("it expired at {0}")]
    Expired(Time),
    /// Us: making a key or a certificate failed.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Us: a certificate was made that TLS cannot use.
    #[error("cannot use the certificate that was made: {0}")]
    Unusable(#[source] rustls::Error),
}

impl Authority {
    /// A new one for these names.
    pub fn make(names: Names, now: Time) -> Result<Authority, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let expires_at = after(now, AUTHORITY_SECS);
        let mut params = authority_params(names, &key);
        params.not_before = date(after(now, -BEFORE_SECS));
        params.not_after = date(expires_at);
        let certificate = params.self_signed(&key)?.into();
        Ok(Authority { names, issuer: Issuer::new(params, key), certificate, expires_at })
    }

    /// One for these names that [`Authority::to_pem`] wrote, if it is whole and clients would take what it signs. One for
    /// other names is none of ours.
    pub fn read(pem: &str, names: Names, now: Time) -> Result<Authority, AuthorityError> {
        let text = AuthorityError::Text;
        let mut keys = PrivatePkcs8KeyDer::pem_slice_iter(pem.as_bytes());
        let key = keys.next().ok_or(text("the key is missing"))?.map_err(|_| text("the key is damaged"))?;
        let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
        let certificate = certificates.next().ok_or(text("the certificate is missing"))?;
        let certificate = certificate.map_err(|_| text("the certificate is damaged"))?.into_owned();
        if keys.next().is_some() || certificates.next().is_some() {
            return Err(text("there is more than one of them"));
        }
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| text("the key is none of the kind that was made here"))?;
        let expires_at = expiry(&certificate).ok_or(text("the certificate is damaged"))?;
        if now >= expires_at {
            return Err(AuthorityError::Expired(expires_at));
        }
        if !is_signed_by(&certificate, &key) {
            return Err(AuthorityError::Mismatch);
        }
        let issuer = Issuer::new(authority_params(names, &key), key);
        let authority = Authority { names, issuer, certificate, expires_at };
        authority.prove(now)?;
        Ok(authority)
    }

    /// Key and certificate as PEM: the whole authority, and a secret.
    pub fn to_pem(&self) -> String {
        format!("{}{}", self.issuer.key().serialize_pem(), self.certificate_pem())
    }

    /// The certificate as PEM: what programs are told to trust.
    pub fn certificate_pem(&self) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(&self.certificate);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// When it expires, and all that it signed with it.
    pub fn expires_at(&self) -> Time {
        self.expires_at
    }

    /// A certificate for a host, a name or an address, good from now on. Clients take none for a host outside of what
    /// the authority may sign for.
    pub fn leaf(&self, host: &str, now: Time) -> Result<Leaf, AuthorityError> {
        let name = match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into()?),
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let expires_at = after(now, LEAF_SECS).min(self.expires_at);
        let mut params = CertificateParams::default();
        params.not_before = date(after(now, -BEFORE_SECS));
        params.not_after = date(expires_at);
        // Not the host's name, which may be longer than a common name: only the alternative name counts.
        params.distinguished_name = name_of(match self.names {
            Names::Under(_) => "Penstock in place of a Google API",
            Names::Any => "Penstock on the way to a host",
        });
        params.subject_alt_names = vec![name];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?.into();
        let half = (expires_at.secs() - now.secs()) / 2;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok(Leaf { certificate, key, renew_at: after(now, half) })
    }

    /// Whether a client that trusts the certificate takes what the key signs: everything that can be wrong with the pair
    /// is found at the start, not by the first sender.
    fn prove(&self, now: Time) -> Result<(), AuthorityError> {
        let host = match self.names {
            Names::Under(domain) => format!("proof.{domain}"),
            Names::Any => "127.0.0.1".to_owned(),
        };
        let leaf = self.leaf(&host, now)?;
        verify(&self.certificate, &leaf.certificate, &host, now).map_err(|_| AuthorityError::Mismatch)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("names", &self.names)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What a client does with a server's certificate, if it trusts this authority and no other.
fn verify(
    authority: &CertificateDer<'_>,
    certificate: &CertificateDer<'_>,
    host: &str,
    now: Time,
) -> Result<(), rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let name = ServerName::try_from(host).map_err(|error| rustls::Error::General(error.to_string()))?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.secs().max(0).unsigned_abs()));
    use rustls::client::danger::ServerCertVerifier as _;
    verifier.verify_server_cert(certificate, &[], &name, &[], now).map(drop)
}

/// Whether the certificate is this key's own signature, to the last bit. Clients do not ask that of what they trust.
fn is_signed_by(certificate: &[u8], key: &KeyPair) -> bool {
    let parts = || {
        let (_, fields, _) = element(certificate)?;
        let (_, _, rest) = element(fields)?;
        let (_, _, signature) = element(rest)?;
        let (_, signature, _) = element(signature)?;
        // A bit string begins with the number of bits that it does not use.
        let (unused, signature) = signature.split_first()?;
        (*unused == 0).then_some((&fields[..fields.len() - rest.len()], signature))
    };
    let Some((signed, signature)) = parts() else { return false };
    let algorithm = &ring::signature::ECDSA_P256_SHA256_ASN1;
    ring::signature::UnparsedPublicKey::new(algorithm, key.public_key_raw()).verify(signed, signature).is_ok()
}

/// Everything of an authority's certificate but its times, which follows from its key.
fn authority_params(names: Names, key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Named after its key, so that a client that knows two authorities of ours does not mix them up.
    let short: String = params.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = name_of(&match names {
        Names::Under(domain) => format!("Penstock CA for {domain} {short}"),
        Names::Any => format!("Penstock CA for any host {short}"),
    });
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if let Names::Under(domain) = names {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
            // A permitted name of one kind limits no other kind.
            excluded_subtrees: vec![
                GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
                GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
            ],
        });
    }
    params.use_authority_key_identifier_extension = true;
    params
}

fn name_of(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Penstock");
    name.push(DnType::CommonName, common_name);
    name
}

/// So many seconds later, on a whole second.
fn after(time: Time, secs: i64) -> Time {
    Time::from_secs(time.secs().saturating_add(secs)).unwrap_or(Time::MAX)
}

fn date(time: Time) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(time.secs()).expect("a time that we keep is a date")
}

/// `notAfter` of a certificate (RFC 5280 §4.1): the second time of the fifth field, not counting the version.
fn expiry(certificate: &[u8]) -> Option<Time> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut fields, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        (_, _, fields) = element(fields)?;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        (_, _, fields) = element(fields)?;
    }
    let (_, validity, _) = element(fields).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        // UTCTime has two digits of a year between 1950 and 2049.
        0x17 => {
            let (year, rest) = text.split_at_checked(2)?;
            (year.parse::<u16>().ok().map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, rest)
        }
        0x18 => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| &rest[at..at + 2];
    format!("{year:04}-{}-{}T{}:{}:{}Z", part(0), part(2), part(4), part(6), part(8)).parse().ok()
}

/// The first element of some DER: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Time {
        "2026-11-26T21:00:00.5Z".parse().unwrap()
    }

    const GOOGLE: Names = Names::Under("googleapis.com");

    #[test]
    fn a_client_that_trusts_it_takes_its_hosts_for_as_long_as_they_live() {
        let authority = Authority::make(GOOGLE, now()).unwrap();
        let leaf = authority.leaf("us-chronicle.googleapis.com", now()).unwrap();
        let check = |name: &str, days: i64, expected: bool| {
            let at = after(now(), days * DAY_SECS);
            let got = verify(authority.certificate(), &leaf.certificate, name, at);
            assert_eq!(got.is_ok(), expected, "{name} after {days} days: {got:?}");
        };
        check("us-chronicle.googleapis.com", 0, true);
        check("us-chronicle.googleapis.com", -1, true);
        check("us-chronicle.googleapis.com", 29, true);
        check("us-chronicle.googleapis.com", -2, false);
        check("us-chronicle.googleapis.com", 31, false);
        check("eu-chronicle.googleapis.com", 0, false);
        assert_eq!(leaf.renew_at, after(now(), 15 * DAY_SECS));
        let other = Authority::make(GOOGLE, now()).unwrap();
        assert!(verify(other.certificate(), &leaf.certificate, "us-chronicle.googleapis.com", now()).is_err());
        // Near its own end its certificates end with it.
        let late = after(now(), AUTHORITY_SECS - DAY_SECS);
        let leaf = authority.leaf("oauth2.googleapis.com", late).unwrap();
        assert_eq!(expiry(&leaf.certificate), Some(authority.expires_at()));
        assert!(leaf.renew_at < authority.expires_at());
        assert_eq!(authority.expires_at().to_string(), "2036-11-23T21:00:00Z");
    }

    #[test]
    fn whoever_trusts_it_trusts_it_for_googleapis_com_alone() {
        let authority = Authority::make(GOOGLE, now()).unwrap();
        let check = |name: &str, expected: bool| {
            let leaf = authority.leaf(name, now()).unwrap();
            let got = verify(authority.certificate(), &leaf.certificate, name, now());
            assert_eq!(got.is_ok(), expected, "{name}: {got:?}");
        };
        check("storage.googleapis.com", true);
        check("example.com", false);
        check("evilgoogleapis.com", false);
        check("googleapis.com.example.com", false);
        check("127.0.0.1", false);
        check("::1", false);
    }

    #[test]
    fn one_for_any_host_signs_for_any_host_and_is_read_as_nothing_else() {
        let authority = Authority::make(Names::Any, now()).unwrap();
        let pem = authority.to_pem();
        let back = Authority::read(&pem, Names::Any, now()).unwrap();
        assert_eq!((back.to_pem(), back.expires_at()), (pem.clone(), authority.expires_at()));
        for name in ["jsonplaceholder.typicode.com", "_x.example", "localhost", "127.0.0.1", "::1"] {
            for authority in [&authority, &back] {
                let leaf = authority.leaf(name, now()).unwrap();
                verify(authority.certificate(), &leaf.certificate, name, now()).unwrap();
                verify(authority.certificate(), &leaf.certificate, "example.com", now()).unwrap_err();
            }
        }
        let of_one_domain = Authority::make(GOOGLE, now()).unwrap().to_pem();
        for (pem, names) in [(&pem, GOOGLE), (&of_one_domain, Names::Any), (&of_one_domain, Names::Under("example"))] {
            let error = Authority::read(pem, names, now()).unwrap_err();
            assert!(matches!(error, AuthorityError::Mismatch), "{error}");
        }
    }

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_named() {
        let authority = Authority::make(GOOGLE, now()).unwrap();
        let pem = authority.to_pem();
        let back = Authority::read(&pem, GOOGLE, now()).unwrap();
        assert_eq!((back.to_pem(), back.expires_at()), (pem.clone(), authority.expires_at()));
        let leaf = back.leaf("oauth2.googleapis.com", now()).unwrap();
        verify(authority.certificate(), &leaf.certificate, "oauth2.googleapis.com", now()).unwrap();

        let check = |name: &str, pem: &str, at: Time, expected: &str| {
            let error = Authority::read(pem, GOOGLE, at).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        };
        let (key, certificate) = pem.split_at(pem.find("-----BEGIN CERTIFICATE").unwrap());
        let other = Authority::make(GOOGLE, now()).unwrap();
        let mixed = format!("{}{certificate}", other.issuer.key().serialize_pem());
        check("mixed", &mixed, now(), "do not go together");
        check("no certificate", key, now(), "the certificate is missing");
        check("no key", certificate, now(), "the key is missing");
        check("empty", "", now(), "the key is missing");
        check("two", &format!("{pem}{certificate}"), now(), "more than one");
        check("expired", &pem, after(now(), AUTHORITY_SECS), "it expired at 2036-11-23T21:00:00Z");
        let cut = &pem[..pem.len() - 60];
        check("cut off", cut, now(), "the certificate is");
        let leaf = authority.leaf("oauth2.googleapis.com", now()).unwrap();
        let foreign =
            Authority { certificate: leaf.certificate, ..Authority::read(&pem, GOOGLE, now()).unwrap() }.to_pem();
        check("not an authority's certificate", &foreign, now(), "do not go together");
        // One bit of the certificate anywhere.
        let der = authority.certificate().to_vec();
        for at in 0..der.len() {
            let mut der = der.clone();
            der[at] ^= 1;
            let changed =
                Authority { certificate: der.into(), ..Authority::read(&pem, GOOGLE, now()).unwrap() }.to_pem();
            assert!(Authority::read(&changed, GOOGLE, now()).is_err(), "byte {at}");
        }
        assert!(!format!("{authority:?}").contains("PRIVATE"));
    }

    #[test]
    fn expiries_are_read_from_damaged_certificates_without_harm() {
        let authority = Authority::make(GOOGLE, now()).unwrap();
        let der = authority.certificate().to_vec();
        assert_eq!(expiry(&der), Some(authority.expires_at()));
        for at in 0..der.len() {
            expiry(&der[..at]);
            for byte in [0, 0x7f, 0x80, 0x81, 0x82, 0x83, 0xff] {
                let mut der = der.clone();
                der[at] = byte;
                expiry(&der);
            }
        }
        let distant = Authority::make(GOOGLE, "2049-01-01T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(expiry(distant.certificate()).unwrap().to_string(), "2058-12-30T00:00:00Z");
    }
}
