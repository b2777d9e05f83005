//! Every address that the configuration names: taken before anything is opened, so that an address in use is found first,
//! and served once everything is there.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use dialects::Router;
use dialects::syslog::{Text, Whose};
use receive::{Front, Listener, Nothing, SyslogListener, Transport};

use crate::config::{Config, Listen, PlainSyslog, PlainTransport, SERVE_API, SyslogText, Tls};
use crate::serve::tls_config;

/// Listeners beside the main one.
pub struct More {
    /// Further HTTP listeners, with what each serves.
    http: Vec<(Listener, Vec<String>)>,
    /// Syslog, with what it is called when the server says where it listens.
    syslog: Vec<(SyslogListener, &'static str)>,
}

/// A listener as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What comes in there.
    pub what: &'static str,
    /// Where.
    pub address: SocketAddr,
}

/// Something that is ready to serve.
pub enum Ready {
    /// HTTP, with the front door of this listener.
    Http(Listener, Front),
    /// Syslog.
    Syslog(SyslogListener),
}

impl More {
    /// Takes the addresses.
    pub fn bind(config: &Config) -> anyhow::Result<More> {
        let listen = &config.listen;
        let mut more = More { http: Vec::new(), syslog: Vec::new() };
        for (index, also) in listen.also.iter().enumerate() {
            let tls = also.tls.as_ref().map(|tls| tls_config(tls, &format!("listen.also[{index}].tls"))).transpose()?;
            let listener = Listener::bind(also.address, tls)
                .with_context(|| format!("cannot listen on {} (listen.also[{index}].address)", also.address))?;
            more.http.push((listener, also.serve.clone()));
        }
        if let Some(syslog) = &listen.syslog {
            let transport = Transport::Tls(tls_of(listen, &syslog.tls, "listen.syslog")?);
            more.add(syslog.address, transport, Whose::Keyed, "syslog TLS", "listen.syslog.address")?;
        }
        if let Some(relp) = &listen.relp {
            let transport = Transport::Relp(tls_of(listen, &relp.tls, "listen.relp")?);
            more.add(relp.address, transport, Whose::Keyed, "RELP TLS", "listen.relp.address")?;
        }
        for (index, plain) in listen.plain_syslog.iter().enumerate() {
            let PlainSyslog { address, transport, intake, text, .. } = plain;
            let (transport, what) = match transport {
                PlainTransport::Udp => (Transport::Udp, "syslog udp"),
                PlainTransport::Tcp => (Transport::Tcp, "syslog tcp"),
            };
            let text = match text {
                SyslogText::Line => Text::Line,
                SyslogText::Message => Text::Message,
            };
            let whose = Whose::Bound { intake: intake.clone(), text };
            more.add(*address, transport, whose, what, &format!("listen.plain_syslog[{index}].address"))?;
        }
        Ok(more)
    }

    fn add(
        &mut self,
        address: SocketAddr,
        transport: Transport,
        whose: Whose,
        what: &'static str,
        setting: &str,
    ) -> anyhow::Result<()> {
        let listener = SyslogListener::bind(address, transport, whose);
        let listener = listener.with_context(|| format!("cannot listen on {address} ({setting})"))?;
        self.syslog.push((listener, what));
        Ok(())
    }

    /// Where they listen, in the order of the configuration.
    pub fn places(&self) -> anyhow::Result<Vec<Place>> {
        let http = self.http.iter().map(|(listener, _)| Ok(Place { what: "also http", address: listener.address()? }));
        let syslog = self.syslog.iter().map(|(listener, what)| Ok(Place { what, address: listener.address()? }));
        http.chain(syslog).collect()
    }

    /// All of them, each with what it serves.
    pub fn ready(self, front: &Front) -> anyhow::Result<Vec<Ready>> {
        let http = self.http.into_iter().map(|(listener, serve)| Ok(Ready::Http(listener, serving(front, &serve)?)));
        let syslog = self.syslog.into_iter().map(|(listener, _)| Ok(Ready::Syslog(listener)));
        http.chain(syslog).collect()
    }
}

/// The certificate of a listener: its own, or that of the main one.
fn tls_of(listen: &Listen, own: &Option<Tls>, setting: &str) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let made = match (own, &listen.tls) {
        (Some(own), _) => tls_config(own, &format!("{setting}.tls"))?,
        (None, Some(main)) => tls_config(main, "listen.tls")?,
        (None, None) => anyhow::bail!("{setting} has no certificate"),
    };
    // Senders of syslog only write. A ticket that nobody has read makes their system reset the connection when they close
    // it, and ours forgets what it has not read yet.
    let mut silent = rustls::ServerConfig::clone(&made);
    silent.send_tls13_tickets = 0;
    Ok(Arc::new(silent))
}

/// Whether every certificate that the configuration names can be used.
pub fn check_certificates(listen: &Listen) -> anyhow::Result<()> {
    if let Some(tls) = &listen.tls {
        tls_config(tls, "listen.tls")?;
    }
    for (index, also) in listen.also.iter().enumerate() {
        if let Some(tls) = &also.tls {
            tls_config(tls, &format!("listen.also[{index}].tls"))?;
        }
    }
    if let Some(syslog) = &listen.syslog {
        tls_of(listen, &syslog.tls, "listen.syslog")?;
    }
    if let Some(relp) = &listen.relp {
        tls_of(listen, &relp.tls, "listen.relp")?;
    }
    Ok(())
}

/// The front door of a listener that serves these: names of dialects and `api`; none named means all.
pub fn serving(front: &Front, serve: &[String]) -> anyhow::Result<Front> {
    if serve.is_empty() {
        return Ok(front.clone());
    }
    let is_named = |name: &str| serve.iter().any(|named| named == name);
    let mut dialects = dialects::all();
    dialects.retain(|dialect| is_named(dialect.name()));
    let mut front = Front { router: Arc::new(Router::new(dialects)?), ..front.clone() };
    if !is_named(SERVE_API) {
        front.own = Arc::new(Nothing);
    }
    Ok(front)
}
