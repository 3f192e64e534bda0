//! `smtpd-app.yaml`: everything that a reload may change.
//!
//! [`Running`] is the file as types; transports are stored with their group's defaults already filled
//! in. [`keys`](crate::keys::RUNNING) lists the keys.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use mta_types::{ServerId, TransportId};

use crate::node::Node;
pub use crate::startup::{Pki, ServerKind, Version};
use crate::value::{Field, Matcher, Secret, Size, Source, TlsMode, TlsProtocols};

mod table;
mod transport;
mod walk;

pub(crate) use table::{INTERVALS, KEYS};
pub(crate) use walk::read;

/// The running configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// Version of the configuration format.
    pub version: Version,
    /// Behaviour of the virtual servers, by id.
    pub servers: IndexMap<ServerId, Server>,
    /// Every transport of every group, by id, with the group's settings filled in.
    pub transports: IndexMap<TransportId, Transport>,
    /// Scripts and files.
    pub scripting: Scripting,
    /// Named source addresses, by id.
    pub addresses: IndexMap<Arc<str>, SourceAddress>,
    /// Certificates and keys, by the name behind `pki:`.
    pub pki: IndexMap<Arc<str>, Pki>,
    /// Named match lists.
    pub lists: Lists,
    /// The DNS resolver.
    pub resolver: Resolver,
    /// Limits and roll-up of the delivery side.
    pub queues: Queues,
    /// Running configuration of plugins, by plugin id.
    pub plugins: IndexMap<Arc<str>, Arc<Node>>,
    /// Metrics and health.
    pub monitor: Monitor,
    /// `__entrypoint`: a script that `hsh` runs instead of a hook.
    pub entrypoint: Option<Arc<str>>,
}

/// Behaviour of one virtual server. All references are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Matches a server of the startup configuration.
    pub id: ServerId,
    /// What is spoken there.
    pub kind: ServerKind,
    /// Name in the banner and in `Received`; `None` is the host's.
    pub hostname: Option<Arc<str>>,
    /// Transport of recipients for which no script chose one.
    pub transport: Option<TransportId>,
    /// Scripts and limits by phase.
    pub phases: Phases,
    /// Inbound connections at a time.
    pub concurrency_total: NonZeroU32,
    /// Inbound connections at a time from one address; `None` is unlimited.
    pub concurrency_ip: Option<NonZeroU32>,
    /// A connection without traffic is closed after this; over zero.
    pub timeout_idle: Duration,
    /// STARTTLS and implicit TLS.
    pub tls: ServerTls,
    /// Whether every command is logged.
    pub logging: bool,
    /// EHLO keywords that may be announced.
    pub extensions: Extensions,
}

/// Scripts and limits of one server, by phase. Script ids exist in [`Hooks`].
#[derive(Clone, Debug, PartialEq)]
pub struct Phases {
    /// Script at connect.
    pub connect: Option<Arc<str>>,
    /// Script after the end of the connection.
    pub disconnect: Option<Arc<str>>,
    /// Script before each command.
    pub proxy: Option<Arc<str>>,
    /// Script at HELO, EHLO and LHLO.
    pub helo: Option<Arc<str>>,
    /// Script at AUTH.
    pub auth: Option<Arc<str>>,
    /// MAIL FROM.
    pub mailfrom: MailfromPhase,
    /// RCPT TO.
    pub rcptto: RcpttoPhase,
    /// The message itself.
    pub data: DataPhase,
    /// Script at the end of data.
    pub eod: Option<Arc<str>>,
    /// Scripts at the end of data, per recipient.
    pub eodrcpt: RecipientHooks,
}

/// Scripts that run once for each recipient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecipientHooks {
    /// Its script, also the fall-back of `recipientdomains`.
    pub hook: Option<Arc<str>>,
    /// Scripts by recipient domain (lower case).
    pub recipientdomains: HashMap<Box<str>, Arc<str>>,
}

/// MAIL FROM.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MailfromPhase {
    /// Its script.
    pub hook: Option<Arc<str>>,
    /// Messages in one connection; `None` is unlimited.
    pub maxmessages: Option<NonZeroU32>,
}

/// RCPT TO.
#[derive(Clone, Debug, PartialEq)]
pub struct RcpttoPhase {
    /// Its scripts.
    pub hooks: RecipientHooks,
    /// Recipients of one message.
    pub maxrecipients: NonZeroU32,
}

/// The message itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DataPhase {
    /// Largest message, announced as SIZE; `None` is unlimited.
    pub maxsize: Option<Size>,
    /// `Received` fields at which a message is taken for a loop.
    pub maxhops: NonZeroU32,
    /// Whether MIME parts are parsed.
    pub multipart: bool,
    /// Whether BDAT (RFC 3030) is on.
    pub chunking: bool,
}

/// TLS of one server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerTls {
    /// Certificate in `pki`; without it TLS is off.
    pub cert: Option<Arc<str>>,
    /// Further certificates by server name, `*.domain` for one label; lower case. Ours.
    pub sni: Vec<(Arc<str>, Arc<str>)>,
    /// Listeners with TLS from the first octet.
    pub implicit: Vec<Arc<str>>,
    /// Whether a client certificate is asked for. Ours.
    pub clientcert: bool,
}

/// EHLO keywords that may be announced when the rest of the configuration allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// AUTH (RFC 4954).
    pub auth: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// 8BITMIME (RFC 6152).
    pub eightbitmime: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
}

/// Scripts and files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scripting {
    /// Scripts by hook.
    pub hooks: Hooks,
    /// What `include` and `import` find, by path.
    pub files: IndexMap<Arc<str>, ScriptFile>,
    /// What one run of a script may take.
    pub limits: ScriptLimits,
    /// What scripts of some hooks may take instead, by the name of the hook.
    pub hook_limits: IndexMap<&'static str, ScriptLimits>,
}

impl Scripting {
    /// Returns what one run of a script of this hook may take.
    #[must_use]
    pub fn limits_of(&self, hook: &str) -> ScriptLimits {
        self.hook_limits.get(hook).copied().unwrap_or(self.limits)
    }
}

/// What one run of a script may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptLimits {
    /// Calls that may be under way at once.
    pub depth: u32,
    /// What its values may occupy, about.
    pub memory: Size,
    /// Steps that it may take in all; `None` for as many as the time allows.
    pub fuel: Option<u64>,
    /// How long it may take, waits included.
    pub time: Duration,
}

impl Default for ScriptLimits {
    /// Those of a file that does not name any. The time is what RFC 5321 §4.5.3.2 has clients wait for
    /// most replies.
    fn default() -> Self {
        Self { depth: 256, memory: Size(256 << 20), fuel: None, time: Duration::from_secs(300) }
    }
}

/// Scripts by hook and id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hooks {
    /// At connect.
    pub connect: IndexMap<Arc<str>, Arc<str>>,
    /// After the end of the connection.
    pub disconnect: IndexMap<Arc<str>, Arc<str>>,
    /// Before each command.
    pub proxy: IndexMap<Arc<str>, Arc<str>>,
    /// At HELO, EHLO and LHLO.
    pub helo: IndexMap<Arc<str>, Arc<str>>,
    /// At AUTH.
    pub auth: IndexMap<Arc<str>, Arc<str>>,
    /// At MAIL FROM.
    pub mailfrom: IndexMap<Arc<str>, Arc<str>>,
    /// At RCPT TO.
    pub rcptto: IndexMap<Arc<str>, Arc<str>>,
    /// At the end of data.
    pub eod: IndexMap<Arc<str>, Arc<str>>,
    /// At the end of data, per recipient.
    pub eodrcpt: IndexMap<Arc<str>, Arc<str>>,
    /// Before a delivery attempt.
    pub predelivery: Option<Arc<str>>,
    /// After a delivery attempt.
    pub postdelivery: Option<Arc<str>>,
}

/// A file that scripts include or import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFile {
    /// The path by which scripts name it.
    pub id: Arc<str>,
    /// Its content.
    pub source: Source,
}

/// A named source address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAddress {
    /// Its name.
    pub id: Arc<str>,
    /// The address.
    pub address: IpAddr,
    /// HELO name used with it.
    pub hostname: Option<Arc<str>>,
    /// Outbound PROXY protocol of this address.
    pub proxyprotocol: Option<ProxyProtocol>,
}

/// Named match lists, by field and name.
pub type Lists = HashMap<Field, IndexMap<Arc<str>, Vec<Matcher>>>;

/// The DNS resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers; empty is the system's. Ours.
    pub servers: Vec<SocketAddr>,
    /// Answers kept.
    pub cache_size: u32,
    /// Answers are kept at least this long.
    pub cache_ttl_min: Duration,
    /// Queries at a time.
    pub concurrency: NonZeroU32,
}

/// Limits and roll-up of the delivery side.
#[derive(Clone, Debug, PartialEq)]
pub struct Queues {
    /// Outbound connections at a time.
    pub concurrency_total: NonZeroU32,
    /// Messages in memory; `None` is unlimited.
    pub maxmessages: Option<u64>,
    /// Idle connections kept.
    pub pooling_size: u32,
    /// What must agree for an idle connection to be used again.
    pub pooling_policy: PoolingPolicy,
    /// What `grouping` is for destinations outside every grouping.
    pub grouping_default: GroupingDefault,
    /// Destinations that count as one, in order; ids are unique.
    pub groupings: Vec<GroupingRule>,
}

/// What must agree for an idle connection to be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolingPolicy {
    /// The grouping.
    Grouping,
    /// The next hop's name.
    RemoteMx,
}

/// What `grouping` is for destinations outside every grouping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupingDefault {
    /// Nothing.
    Empty,
    /// The recipient's domain.
    RecipientDomain,
    /// The next hop's name.
    RemoteMx,
}

/// Destinations that count as one. Any match of any list is enough.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupingRule {
    /// Its id; appears as `&id`.
    pub id: Arc<str>,
    /// Next hop names.
    pub remotemx: Vec<Matcher>,
    /// Recipient domains.
    pub recipientdomain: Vec<Matcher>,
    /// Next hop addresses.
    pub remoteip: Vec<Matcher>,
}

/// A way out, complete: the group's settings are filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Transport {
    /// Its id, unique over all groups.
    pub id: TransportId,
    /// Id of its group, when that has one.
    pub group: Option<Arc<str>>,
    /// Where and from where to connect.
    pub connection: TransportConnection,
    /// What to say there.
    pub session: TransportSession,
    /// When to try again.
    pub retry: Retry,
    /// Transport of bounces; without it none is made.
    pub dsn_transport: Option<TransportId>,
}

/// Where and from where to connect.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportConnection {
    /// The next hop.
    pub server: Destination,
    /// TCP port, never zero.
    pub port: u16,
    /// Whether IPv4 may be used.
    pub ipv4: bool,
    /// Whether IPv6 may be used.
    pub ipv6: bool,
    /// Source addresses, by id; empty leaves the choice to the system.
    pub sourceip: Vec<Arc<str>>,
    /// Whether the source address is chosen at random; otherwise the order counts.
    pub sourceip_random: bool,
    /// Outbound PROXY protocol.
    pub proxyprotocol: Option<ProxyProtocol>,
}

/// The next hop of a transport.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A fixed address; `0.0.0.0` stands for a delivery plugin.
    Address(IpAddr),
    /// A fixed host, by its address records.
    Host(Arc<str>),
    /// The MX records of the recipient's domain.
    Mx,
}

/// A proxy that is told the chosen source address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyProtocol {
    /// Host name or address of the proxy.
    pub server: Arc<str>,
    /// TCP port, never zero.
    pub port: u16,
}

/// What to say to the next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportSession {
    /// SMTP or LMTP.
    pub protocol: MailProtocol,
    /// HELO name; `None` is the source address's, then the host's.
    pub helo: Option<Arc<str>>,
    /// How hard to insist on TLS.
    pub tls_mode: TlsMode,
    /// TLS versions.
    pub tls_protocols: TlsProtocols,
    /// User name and password for AUTH.
    pub credentials: Option<Credentials>,
}

/// SMTP or LMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailProtocol {
    /// LMTP (RFC 2033).
    Lmtp,
    /// SMTP (RFC 5321).
    Smtp,
}

/// User name and password for AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: Arc<str>,
    /// Password.
    pub password: Secret,
}

/// When to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts after which the message expires.
    pub count: u32,
    /// Waiting times, never empty; the last one repeats.
    pub intervals: Vec<RetryInterval>,
}

/// One waiting time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryInterval {
    /// How long; at least one second.
    pub interval: Duration,
    /// Whether the sender is told about the delay when this interval begins.
    pub notify: bool,
}

impl Retry {
    /// The waiting time after the `failures`-th failure, counted from one.
    ///
    /// Returns `None` once the message has expired.
    #[must_use]
    pub fn after(&self, failures: u32) -> Option<RetryInterval> {
        if failures >= self.count {
            return None;
        }
        let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        self.intervals.get(index).or_else(|| self.intervals.last()).copied()
    }
}

/// Metrics and health.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Monitor {
    /// Keys that clients must present; empty lets everybody in.
    pub apikeys: Vec<Secret>,
    /// Certificate in `pki`.
    pub cert: Option<Arc<str>>,
    /// Unhealthy above this many messages.
    pub maxmessages_upper: Option<u64>,
    /// Healthy again below this many.
    pub maxmessages_lower: Option<u64>,
    /// Metrics that scripts may move.
    pub metrics: Vec<CustomMetric>,
}

/// A metric that scripts may move.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomMetric {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: MetricKind,
    /// Its description.
    pub help: Option<Arc<str>>,
    /// Upper bounds of a histogram, rising.
    pub buckets: Vec<f64>,
}

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Distribution.
    Histogram,
}

impl RecipientHooks {
    /// The script for a recipient in `domain` (lower case): the domain's own, else the fall-back.
    #[must_use]
    pub fn of(&self, domain: &str) -> Option<&Arc<str>> {
        self.recipientdomains.get(domain).or(self.hook.as_ref())
    }
}
