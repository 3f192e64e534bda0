//! How one row will be delivered: where to, from where, saying what.
//!
//! A plan is the transport's settings with a script's `Try` options laid over them, and the targets
//! that DNS gave. It lives from the moment the row is activated until its attempt is over.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::delivery::{DeliverySettings, SmtpState};
use config::running::{Destination, MailProtocol, ProxyProtocol, SourceAddress, Transport};
use config::value::TlsMode;
use mta_types::Address;
use queue::message::QueuedMessage;
use script_host::hooks::dsn_options::DsnOptions;
use script_host::hooks::eod::EnvelopeDsn;
use script_host::hooks::slots::Slot;
use smtp::parameters::Parameters;

use crate::tls::Dane;
use crate::world::World;

/// How one row will be delivered.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Hosts and addresses to try, best first. A connection failure goes on to the next.
    pub targets: Vec<Target>,
    /// How it is done.
    pub settings: Settings,
    /// What the pre-delivery script left behind.
    pub left: Left,
}

/// What a pre-delivery script leaves for the attempt and for the post-delivery script.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// `$context`.
    pub context: hsl::Value,
    /// How a notification of this attempt differs from the usual one.
    pub dsn: Option<Arc<DsnOptions>>,
    /// Slots that are given back when the attempt is over.
    pub slots: Arc<[Slot]>,
}

/// One address to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host's name, or the address in words.
    pub host: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// What DNS says about the host's certificates; `None` when nobody wants to know.
    pub dane: Option<Arc<Dane>>,
}

/// What does not depend on DNS.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to: exchangers of the domain, a host, an address.
    pub destination: Destination,
    /// The port there.
    pub port: u16,
    /// Whether IPv4 may be used.
    pub ipv4: bool,
    /// Whether IPv6 may be used.
    pub ipv6: bool,
    /// Local addresses to choose from; none lets the system choose.
    pub sources: Vec<Source>,
    /// Whether they are used in any order.
    pub source_random: bool,
    /// Source addresses need not be of this machine.
    pub nonlocal_source: bool,
    /// The proxy that connects for us, from an address that we name.
    pub proxy: Option<ProxyProtocol>,
    /// The name to greet with, in place of the source's and the host's.
    pub helo: Option<Arc<str>>,
    /// What is spoken.
    pub protocol: MailProtocol,
    /// How it is encrypted.
    pub tls: TlsSettings,
    /// User and password to log in with.
    pub credentials: Option<(Arc<str>, Arc<str>)>,
    /// Attributes for XCLIENT.
    pub xclient: Vec<(String, String)>,
    /// Whether BDAT is used where it is offered (RFC 3030).
    pub chunking: bool,
    /// Patterns of exchangers that may be used; none allows all.
    pub mx_include: Vec<String>,
    /// Patterns of exchangers that may not be used.
    pub mx_exclude: Vec<String>,
    /// Instead of the message's sender.
    pub sender: Option<Address>,
    /// Instead of the parameters of its sender.
    pub sender_params: Option<Parameters>,
    /// Instead of the message's recipient.
    pub recipient: Option<Address>,
    /// Instead of the parameters of its recipient.
    pub recipient_params: Option<Parameters>,
    /// For one connection.
    pub connect_timeout: Duration,
    /// Waits by SMTP state; the first one of a state holds.
    pub timeouts: Vec<(SmtpState, Duration)>,
    /// Whether the connection is kept.
    pub pooling: Pooling,
    /// What the script says about notifications, in place of what the sender asked for.
    pub dsn: Option<Arc<TryDsn>>,
    /// What the script chose, which the delivery settings do not change.
    pub chosen: Chosen,
    /// The plugin that delivers instead of the SMTP client.
    pub plugin: Option<PluginCall>,
}

/// The option `dsn` of `Try`.
#[derive(Clone, Debug, Default)]
pub struct TryDsn {
    /// Success means delivery, not only relaying: the next hop hands the message to the recipient.
    pub is_delivery: bool,
    /// What is `None` is as the sender asked.
    pub envelope: EnvelopeDsn,
}

impl TryDsn {
    /// The row as it is for this attempt.
    pub fn lay_over(&self, row: &mut QueuedMessage) {
        if let Some(notify) = self.envelope.notify {
            row.notify = notify;
        }
        if let Some(orcpt) = &self.envelope.orcpt {
            row.orcpt = Some(orcpt.clone());
        }
    }
}

/// A delivery by a plugin.
#[derive(Clone, Debug)]
pub struct PluginCall {
    /// Its name.
    pub id: Arc<str>,
    /// What the script gave along.
    pub arguments: Option<hsl::Value>,
}

/// Settings that a script chose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chosen {
    /// Whether connections are kept.
    pub pooling: bool,
    /// The wait for a connection.
    pub connect_timeout: bool,
    /// The TLS mode.
    pub tls_mode: bool,
    /// The versions of TLS.
    pub tls_protocols: bool,
}

/// A local address to connect from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in `addresses`.
    pub id: Option<Arc<str>>,
    /// The address.
    pub address: IpAddr,
    /// The name to greet with from there.
    pub helo: Option<Arc<str>>,
    /// The proxy that has this address.
    pub proxy: Option<ProxyProtocol>,
}

impl Source {
    /// An address of the configuration.
    pub fn of(known: &SourceAddress) -> Self {
        Self {
            id: Some(Arc::clone(&known.id)),
            address: known.address,
            helo: known.hostname.clone(),
            proxy: known.proxyprotocol.clone(),
        }
    }
}

/// How TLS is used.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// How strict.
    pub mode: TlsMode,
    /// Versions that may be used.
    pub versions: tls_policy::Versions,
    /// The name sent in the handshake: `None` for none.
    pub sni: Sni,
    /// Whether the host connected to must be named in the certificate; where nothing is said, it
    /// must when the mode verifies and there are no names.
    pub verify_host: Option<bool>,
    /// Further names of which the certificate must carry one.
    pub verify_names: Vec<String>,
    /// Whether the system's authorities count.
    pub default_ca: bool,
    /// Our certificate, an id of `pki`.
    pub client_cert: Option<Arc<str>>,
    /// The cipher suites that may be used, as a script wrote them and as they were understood.
    pub ciphers: Option<(String, tls_policy::Ciphers)>,
}

/// Which server name is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sni {
    /// None.
    Off,
    /// The host connected to.
    Host,
    /// A fixed name.
    Name(String),
}

/// Whether and how long a connection is kept for the next message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Whether it is kept.
    pub enabled: bool,
    /// For how long at most.
    pub timeout: Duration,
    /// Messages on one connection; `None` for any number.
    pub transactions: Option<u32>,
    /// Whether it gives way to others when there are too many.
    pub evictable: bool,
}

impl Settings {
    /// What the transport says.
    pub fn new(world: &World, transport: &Transport) -> Self {
        let connection = &transport.connection;
        let session = &transport.session;
        let sources = connection
            .sourceip
            .iter()
            .filter_map(|id| world.running.addresses.get(id))
            .map(Source::of)
            .collect();
        let protocols = session.tls_protocols;
        let script = Self::of_script();
        Self {
            destination: connection.server.clone(),
            port: connection.port,
            ipv4: connection.ipv4,
            ipv6: connection.ipv6,
            sources,
            source_random: connection.sourceip_random,
            nonlocal_source: false,
            proxy: connection.proxyprotocol.clone(),
            helo: session.helo.clone(),
            protocol: session.protocol,
            tls: TlsSettings {
                mode: session.tls_mode,
                versions: tls_policy::Versions { tls12: protocols.tls12, tls13: protocols.tls13 },
                ..script.tls
            },
            credentials: session
                .credentials
                .as_ref()
                .map(|login| (Arc::clone(&login.username), login.password.reveal().into())),
            ..script
        }
    }

    /// The same with delivery settings laid between the transport's and the script's.
    pub fn under(&self, delivery: &DeliverySettings) -> Self {
        let mut out = self.clone();
        let chosen = self.chosen;
        if let Some(mode) = delivery.tls_mode
            && !chosen.tls_mode
        {
            out.tls.mode = mode;
        }
        if let Some(protocols) = delivery.tls_protocols
            && !chosen.tls_protocols
        {
            out.tls.versions =
                tls_policy::Versions { tls12: protocols.tls12, tls13: protocols.tls13 };
        }
        if let Some(timeout) = delivery.timeout_connect
            && !chosen.connect_timeout
        {
            out.connect_timeout = timeout;
        }
        // The first one of a state holds, and the script's come first.
        out.timeouts.extend(delivery.timeout_smtp.iter().map(|(state, t)| (*state, *t)));
        if !chosen.pooling {
            out.pooling.enabled = delivery.pooling_enabled;
        }
        out.pooling.timeout = delivery.pooling_timeout.unwrap_or(POOL_TIMEOUT);
        out.pooling.transactions = delivery.pooling_transactions;
        out.pooling.evictable = delivery.pooling_evictable;
        out
    }

    /// For a script that names its own server: the defaults of the manual.
    pub fn of_script() -> Self {
        Self {
            destination: Destination::Mx,
            port: 25,
            ipv4: true,
            ipv6: true,
            sources: Vec::new(),
            source_random: true,
            nonlocal_source: false,
            proxy: None,
            helo: None,
            protocol: MailProtocol::Smtp,
            tls: TlsSettings {
                mode: TlsMode::Disabled,
                versions: tls_policy::Versions::default(),
                sni: Sni::Off,
                verify_host: None,
                verify_names: Vec::new(),
                default_ca: false,
                client_cert: None,
                ciphers: None,
            },
            credentials: None,
            xclient: Vec::new(),
            chunking: true,
            mx_include: Vec::new(),
            mx_exclude: Vec::new(),
            sender: None,
            sender_params: None,
            recipient: None,
            recipient_params: None,
            connect_timeout: CONNECT_TIMEOUT,
            timeouts: Vec::new(),
            pooling: Pooling {
                enabled: false,
                timeout: POOL_TIMEOUT,
                transactions: None,
                evictable: false,
            },
            dsn: None,
            chosen: Chosen::default(),
            plugin: None,
        }
    }

    /// The proxy to go through from a source address.
    pub fn proxy(&self, source: Option<IpAddr>) -> Option<&ProxyProtocol> {
        let chosen = self.sources.iter().find(|known| Some(known.address) == source);
        chosen.and_then(|source| source.proxy.as_ref()).or(self.proxy.as_ref())
    }

    /// How long to wait for the answer to a state.
    pub fn timeout(&self, state: smtp::client::State) -> Duration {
        self.timeouts
            .iter()
            .find(|(known, _)| known.as_str() == state.as_str())
            .map_or_else(|| state.default_timeout(), |(_, timeout)| *timeout)
    }

    /// The targets of a destination that needs no DNS.
    pub fn fixed_targets(&self) -> Option<Vec<Target>> {
        let Destination::Address(ip) = &self.destination else { return None };
        Some(vec![Target {
            host: ip.to_string().into(),
            address: SocketAddr::new(*ip, self.port),
            dane: None,
        }])
    }
}

/// `connect_timeout` of the manual.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Long enough for the next message of a burst, short enough not to annoy the peer.
const POOL_TIMEOUT: Duration = Duration::from_secs(5);
