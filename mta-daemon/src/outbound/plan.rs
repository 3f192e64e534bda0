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
use queue::message::{DsnNotify, DsnReturn, QueuedMessage};
use smtp::parameters::Parameters;

use crate::generation::Generation;
use crate::outbound::tls::Dane;

/// How one row will be delivered.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Hosts and addresses to try, best first. A connection failure goes on to the next.
    pub(crate) targets: Vec<Target>,
    pub(crate) settings: Settings,
    /// `$context` on its way from the pre-delivery to the post-delivery script.
    pub(crate) context: hsl::Value,
}

/// One address to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: Arc<str>,
    pub(crate) address: SocketAddr,
    /// What DNS says about the host's certificates; `None` when nobody wants to know.
    pub(crate) dane: Option<Arc<Dane>>,
}

/// What does not depend on DNS.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) destination: Destination,
    pub(crate) port: u16,
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
    pub(crate) sources: Vec<Source>,
    pub(crate) source_random: bool,
    /// Source addresses need not be of this machine.
    pub(crate) nonlocal_source: bool,
    /// The proxy that connects for us, from an address that we name.
    pub(crate) proxy: Option<ProxyProtocol>,
    pub(crate) helo: Option<Arc<str>>,
    pub(crate) protocol: MailProtocol,
    pub(crate) tls: TlsSettings,
    pub(crate) credentials: Option<(Arc<str>, Arc<str>)>,
    pub(crate) xclient: Vec<(String, String)>,
    pub(crate) chunking: bool,
    pub(crate) mx_include: Vec<String>,
    pub(crate) mx_exclude: Vec<String>,
    pub(crate) sender: Option<Address>,
    pub(crate) sender_params: Option<Parameters>,
    pub(crate) recipient: Option<Address>,
    pub(crate) recipient_params: Option<Parameters>,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeouts: Vec<(SmtpState, Duration)>,
    pub(crate) pooling: Pooling,
    /// What the script says about notifications, in place of what the sender asked for.
    pub(crate) dsn: Option<Arc<TryDsn>>,
    /// What the script chose, which the delivery settings do not change.
    pub(crate) chosen: Chosen,
    /// The plugin that delivers instead of the SMTP client.
    pub(crate) plugin: Option<PluginCall>,
}

/// The option `dsn` of `Try`; what is `None` is as the sender asked (RFC 3461).
#[derive(Clone, Debug, Default)]
pub(crate) struct TryDsn {
    /// Success means delivery, not only relaying: the next hop hands the message to the recipient.
    pub(crate) is_delivery: bool,
    pub(crate) envid: Option<Box<str>>,
    pub(crate) ret: Option<DsnReturn>,
    pub(crate) notify: Option<DsnNotify>,
    pub(crate) orcpt: Option<Box<str>>,
}

impl TryDsn {
    /// The row as it is for this attempt.
    pub(crate) fn lay_over(&self, row: &mut QueuedMessage) {
        if let Some(notify) = self.notify {
            row.notify = notify;
        }
        if let Some(orcpt) = &self.orcpt {
            row.orcpt = Some(orcpt.clone());
        }
    }
}

/// A delivery by a plugin.
#[derive(Clone, Debug)]
pub(crate) struct PluginCall {
    pub(crate) id: Arc<str>,
    /// What the script gave along.
    pub(crate) arguments: Option<hsl::Value>,
}

/// Settings that a script chose.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) pooling: bool,
    pub(crate) connect_timeout: bool,
    pub(crate) tls_mode: bool,
    pub(crate) tls_protocols: bool,
}

/// A local address to connect from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its name in `addresses`.
    pub(crate) id: Option<Arc<str>>,
    pub(crate) address: IpAddr,
    pub(crate) helo: Option<Arc<str>>,
    /// The proxy that has this address.
    pub(crate) proxy: Option<ProxyProtocol>,
}

impl Source {
    /// An address of the configuration.
    pub(crate) fn of(known: &SourceAddress) -> Self {
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
pub(crate) struct TlsSettings {
    pub(crate) mode: TlsMode,
    pub(crate) versions: tls_policy::Versions,
    /// The name sent in the handshake: `None` for none.
    pub(crate) sni: Sni,
    /// The host connected to must be named in the certificate.
    pub(crate) verify_host: bool,
    /// Further names of which the certificate must carry one.
    pub(crate) verify_names: Vec<String>,
    /// Whether the system's authorities count.
    pub(crate) default_ca: bool,
    /// Our certificate, an id of `pki`.
    pub(crate) client_cert: Option<Arc<str>>,
    /// The cipher suites that may be used, as a script wrote them and as they were understood.
    pub(crate) ciphers: Option<(String, tls_policy::Ciphers)>,
}

/// Which server name is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sni {
    /// None.
    Off,
    /// The host connected to.
    Host,
    /// A fixed name.
    Name(String),
}

/// Whether and how long a connection is kept for the next message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pooling {
    pub(crate) enabled: bool,
    pub(crate) timeout: Duration,
    /// Messages on one connection; `None` for any number.
    pub(crate) transactions: Option<u32>,
    pub(crate) evictable: bool,
}

impl Settings {
    /// What the transport says.
    pub(crate) fn new(generation: &Generation, transport: &Transport) -> Self {
        let connection = &transport.connection;
        let session = &transport.session;
        let sources = connection
            .sourceip
            .iter()
            .filter_map(|id| generation.running.addresses.get(id))
            .map(Source::of)
            .collect();
        let protocols = session.tls_protocols;
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
                sni: Sni::Off,
                verify_host: false,
                verify_names: Vec::new(),
                default_ca: false,
                client_cert: None,
                ciphers: None,
            },
            credentials: session
                .credentials
                .as_ref()
                .map(|login| (Arc::clone(&login.username), login.password.reveal().into())),
            ..Self::of_script()
        }
    }

    /// The same with delivery settings laid between the transport's and the script's.
    pub(crate) fn under(&self, delivery: &DeliverySettings) -> Self {
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
    pub(crate) fn of_script() -> Self {
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
                verify_host: false,
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
    pub(crate) fn proxy(&self, source: Option<IpAddr>) -> Option<&ProxyProtocol> {
        let chosen = self.sources.iter().find(|known| Some(known.address) == source);
        chosen.and_then(|source| source.proxy.as_ref()).or(self.proxy.as_ref())
    }

    /// How long to wait for the answer to a state.
    pub(crate) fn timeout(&self, state: smtp::client::State) -> Duration {
        self.timeouts
            .iter()
            .find(|(known, _)| known.as_str() == state.as_str())
            .map_or_else(|| state.default_timeout(), |(_, timeout)| *timeout)
    }

    /// The targets of a destination that needs no DNS.
    pub(crate) fn fixed_targets(&self) -> Option<Vec<Target>> {
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
