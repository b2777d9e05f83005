//! What a TLS server needs in place of each host: a certificate and its key, made when the host is first asked for and kept
//! until the certificate is half used up. Bounded: of more hosts than are kept, the one that was not asked for longest goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use event::{Time, limits};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::Ticketer;
use rustls::server::NoServerSessionStorage;

use crate::{Authority, AuthorityError};

/// Whether clients that come again may leave out most of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// By tickets, which cost no memory here.
    Tickets,
    /// Every handshake is a whole one.
    Never,
}

/// TLS settings by host, no more than [`limits::CERTIFICATES_MAX`].
pub struct Hosts {
    authority: Authority,
    sessions: Sessions,
    provider: Arc<CryptoProvider>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_host: HashMap<String, Host>,
    /// Counts the times that something was asked for.
    clock: u64,
}

struct Host {
    config: Arc<ServerConfig>,
    renew_at: Time,
    asked_at: u64,
}

impl Hosts {
    /// With the authority that signs for them.
    pub fn new(authority: Authority, sessions: Sessions) -> Hosts {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Hosts { authority, sessions, provider, kept: Mutex::default() }
    }

    /// The authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The TLS settings for a host: HTTP/1.1 alone, no client certificates.
    pub fn config(&self, host: &str, now: Time) -> Result<Arc<ServerConfig>, AuthorityError> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = lock().get(host, now) {
            return Ok(config);
        }
        // Two connections may both make one; either is good.
        let leaf = self.authority.leaf(host, now)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![leaf.certificate], leaf.key))
            .map_err(AuthorityError::Unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match self.sessions {
            Sessions::Tickets => config.ticketer = Ticketer::new().map_err(AuthorityError::Unusable)?,
            Sessions::Never => config.send_tls13_tickets = 0,
        }
        let config = Arc::new(config);
        lock().put(host, Arc::clone(&config), leaf.renew_at);
        Ok(config)
    }
}

impl Kept {
    fn get(&mut self, host: &str, now: Time) -> Option<Arc<ServerConfig>> {
        self.clock += 1;
        let kept = self.by_host.get_mut(host).filter(|kept| now < kept.renew_at)?;
        kept.asked_at = self.clock;
        Some(Arc::clone(&kept.config))
    }

    fn put(&mut self, host: &str, config: Arc<ServerConfig>, renew_at: Time) {
        if self.by_host.len() >= limits::CERTIFICATES_MAX && !self.by_host.contains_key(host) {
            let oldest = self.by_host.iter().min_by_key(|(_, kept)| kept.asked_at).map(|(host, _)| host.clone());
            if let Some(oldest) = oldest {
                self.by_host.remove(&oldest);
            }
        }
        self.by_host.insert(host.to_owned(), Host { config, renew_at, asked_at: self.clock });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Names;

    #[test]
    fn certificates_are_kept_until_half_of_their_life_is_over_and_not_without_end() {
        let now = |days: i64, secs: i64| Time::from_secs(1_795_290_965 + days * 86_400 + secs).unwrap();
        let hosts = Hosts::new(Authority::make(Names::Any, now(0, 0)).unwrap(), Sessions::Tickets);
        let first = hosts.config("a.example", now(0, 0)).unwrap();
        assert!(Arc::ptr_eq(&first, &hosts.config("a.example", now(0, 0)).unwrap()));
        assert!(Arc::ptr_eq(&first, &hosts.config("a.example", now(15, -1)).unwrap()));
        let second = hosts.config("a.example", now(15, 0)).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        for n in 0..limits::CERTIFICATES_MAX * 2 {
            hosts.config(&format!("h{n}.example"), now(15, 0)).unwrap();
            let again = hosts.config("a.example", now(15, 0)).unwrap();
            assert!(Arc::ptr_eq(&second, &again), "what is asked for stays");
        }
        assert_eq!(hosts.kept.lock().unwrap().by_host.len(), limits::CERTIFICATES_MAX);
    }
}
