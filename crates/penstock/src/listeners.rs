//! Every address that the configuration names: taken before anything is opened, so that an address in use is found first,
//! and served once everything is there.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use dialects::Router;
use dialects::syslog::{Text, Whose};
use receive::{Front, Listener, Nothing, SyslogListener, Transport};

use crate::config::{Also, Config, KeyedSyslog, Listen, PlainSyslog, PlainTransport, SERVE_API, SyslogText};
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
            let listener = Listener::bind(also.address, tls_of_also(index, also)?)
                .with_context(|| format!("cannot listen on {} (listen.also[{index}].address)", also.address))?;
            more.http.push((listener, also.serve.clone()));
        }
        for (keyed, setting, what, port, transport) in keyed(listen) {
            let address = keyed.address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
            let transport = transport(tls_of(listen, keyed, setting)?);
            more.add(address, transport, Whose::Keyed, what, &format!("{setting}.address"))?;
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

/// The listeners for lines that name their intake: their settings, what they are called, and the port that Sekoia has.
fn keyed(listen: &Listen) -> impl Iterator<Item = (&KeyedSyslog, &'static str, &'static str, u16, MakeTransport)> {
    let syslog: MakeTransport = Transport::Tls;
    let both = [
        (&listen.syslog, "listen.syslog", "syslog TLS", 10_514, syslog),
        (&listen.relp, "listen.relp", "RELP TLS", 11_514, Transport::Relp),
    ];
    both.into_iter().filter_map(|(keyed, setting, what, port, make)| Some((keyed.as_ref()?, setting, what, port, make)))
}

type MakeTransport = fn(Arc<rustls::ServerConfig>) -> Transport;

/// The certificate of such a listener: its own, or that of the main one.
fn tls_of(listen: &Listen, keyed: &KeyedSyslog, setting: &str) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let made = match (&keyed.tls, &listen.tls) {
        (Some(own), _) => tls_config(own, &format!("{setting}.tls"))?,
        (None, Some(main)) => tls_config(main, "listen.tls")?,
        (None, None) => anyhow::bail!("{setting} has no certificate: set {setting}.tls or listen.tls"),
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
        tls_of_also(index, also)?;
    }
    for (keyed, setting, ..) in keyed(listen) {
        tls_of(listen, keyed, setting)?;
    }
    Ok(())
}

fn tls_of_also(index: usize, also: &Also) -> anyhow::Result<Option<Arc<rustls::ServerConfig>>> {
    also.tls.as_ref().map(|tls| tls_config(tls, &format!("listen.also[{index}].tls"))).transpose()
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
