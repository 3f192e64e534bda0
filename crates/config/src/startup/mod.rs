//! `smtpd.yaml`: what is fixed from start to stop.
//!
//! [`Startup`] is the file as types; [`keys`](crate::keys::STARTUP) lists its keys.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use mta_types::ServerId;

use crate::node::Node;
use crate::value::{Mode, Size, Source};

mod table;
mod walk;

pub(crate) use table::{KEYS, PKI_PRIVATE, SERVER_KINDS};
pub(crate) use walk::{pki, plugin_config, read, unimplemented_kind, version};

/// The startup configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Startup {
    /// Version of the configuration format.
    pub version: Version,
    /// Listening servers; their behaviour is in the running configuration. Ids are unique.
    pub servers: Vec<ServerSockets>,
    /// Thread numbers of the delivery side.
    pub queues: QueueThreads,
    /// Where scripts may reach.
    pub scripting: Scripting,
    /// Keys and certificates read before privileges are dropped. Ids are unique.
    pub pki: Vec<Pki>,
    /// The queue on disk.
    pub spool: Spool,
    /// Native plugins, in load order. Ids are unique.
    pub plugins: Vec<Plugin>,
    /// Paths, sockets, identity and limits of the process.
    pub environment: Environment,
    /// HTTP listener for metrics and health.
    pub monitor: Option<MonitorListener>,
    /// Connection to a delivery orchestrator.
    pub cluster: Option<Cluster>,
}

/// `major.minor` of the configuration format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
}

/// The sockets of one virtual server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSockets {
    /// Matches a server of the running configuration.
    pub id: ServerId,
    /// What is spoken there.
    pub kind: ServerKind,
    /// Bind points; at least one unless `kind` is [`ServerKind::Plugin`].
    pub listeners: Vec<Listener>,
    /// Peers that may send a PROXY header.
    pub proxyprotocol: Vec<IpAddr>,
    /// Event loop threads.
    pub event_threads: u32,
    /// Script threads; `None` leaves the number to the program.
    pub script_threads: Option<u32>,
}

/// What a virtual server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerKind {
    /// HTTP submission in clear text.
    Http,
    /// HTTP submission over TLS.
    Https,
    /// No sockets; plugins inject messages.
    Plugin,
    /// SMTP (RFC 5321).
    Smtp,
}

/// One bind point.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Name by which the running configuration may refer to it; unique within the server.
    pub id: Option<Arc<str>>,
    /// Where it is.
    pub place: Place,
    /// Listen backlog; `None` is the system's.
    pub backlog: Option<u32>,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the network.
    Network {
        /// Bind address; `None` is every IPv4 and IPv6 address.
        address: Option<IpAddr>,
        /// TCP port; zero takes one that is free. Ours.
        port: u16,
    },
    /// In the file system, for programs of this machine. The key is ours.
    Unix(UnixSocket),
}

/// A Unix socket with its owner and mode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnixSocket {
    /// Its path.
    pub path: PathBuf,
    /// Owner; `None` leaves whom the program starts as.
    pub owner: Option<Arc<str>>,
    /// Group; `None` leaves whom the program starts as.
    pub group: Option<Arc<str>>,
    /// Permission bits.
    pub chmod: Mode,
}

/// Threads of the delivery side; `None` leaves the number to the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueThreads {
    /// Event loop threads.
    pub event: Option<u32>,
    /// Threads of pre- and post-delivery scripts.
    pub script: Option<u32>,
}

/// `scripting` of the startup file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scripting {
    /// Root of `file://` includes and `File()`; without it scripts reach no files.
    pub rootpath: Option<PathBuf>,
    /// Whether the FFI class may be used.
    pub ffi: bool,
    /// What the values of the shared memory may occupy together. Ours.
    pub shared_memory: Size,
}

/// A certificate with its key, or one of the two. At least one is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pki {
    /// The name behind `pki:`.
    pub id: Arc<str>,
    /// Certificate chain, PEM.
    pub certificate: Option<Source>,
    /// Private key, PEM.
    pub privatekey: Option<Source>,
}

/// The queue on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Queue folder.
    pub path: PathBuf,
    /// Threads that parse the spool at start; at least one.
    pub loader_threads: u32,
    /// What to do with damaged queue files.
    pub corrupt: Corrupt,
    /// Whether mail is on stable storage before it is acknowledged.
    pub fsync: bool,
    /// Refuse mail below this many free inodes.
    pub minfree_inodes: Option<u64>,
    /// Refuse mail below this many free octets.
    pub minfree_bytes: Option<Size>,
    /// Size at which a spool segment is closed and a new one begun. Ours.
    pub segment_size: Size,
}

/// What the loader does with an empty or incomplete queue file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Corrupt {
    /// Leave it in place and go on.
    Ignore,
    /// Move it aside.
    Rename,
    /// Remove it.
    Unlink,
}

/// A native plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// Its name.
    pub id: Arc<str>,
    /// The library; `None` is `<pluginspath>/<id>.so`.
    pub path: Option<PathBuf>,
    /// The `config` block as written; an empty mapping when there is none.
    pub config: Arc<Node>,
}

/// Paths, sockets, identity and limits of the process.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// Running configuration.
    pub appconf: PathBuf,
    /// Pickup policies.
    pub policyconf: PathBuf,
    /// Suspensions.
    pub suspendconf: PathBuf,
    /// Delivery settings.
    pub deliveryconf: PathBuf,
    /// Folder of plugins.
    pub pluginspath: PathBuf,
    /// Where control clients connect.
    pub controlsocket: ControlSocket,
    /// Whom to become after start; `None` stays.
    pub privdrop: Option<Privdrop>,
    /// File mode creation mask; `None` leaves the inherited one.
    pub umask: Option<Mode>,
    /// Open files limit; `None` leaves the inherited one.
    pub rlimit_nofile: Option<u64>,
    /// How transaction ids are made.
    pub uuid_version: UuidVersion,
    /// Bit mask of syslog priorities that are written (bit 0 = emergency … bit 7 = debug).
    pub syslog_mask: u8,
    /// Public suffix list.
    pub publicsuffix: Option<PathBuf>,
    /// Data socket of the rate daemon.
    pub rated_socket: PathBuf,
    /// Data socket of the content inspection daemon.
    pub dlpd_socket: PathBuf,
    /// Data socket of the HTTP queue daemon (until 5.4).
    pub httprd_socket: PathBuf,
    /// Accepted, never read.
    pub licensekey: Option<PathBuf>,
}

/// Where control clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlSocket {
    /// TCP.
    Tcp {
        /// Bind address; `None` is every address.
        address: Option<IpAddr>,
        /// TCP port, never zero.
        port: u16,
        /// TLS of this socket; `None` is clear text.
        tls: Option<ControlTls>,
    },
    /// A Unix socket.
    Unix(UnixSocket),
}

/// TLS of the control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlTls {
    /// As a server.
    pub server: Option<ControlTlsEnd>,
    /// As a client (of other nodes).
    pub client: Option<ControlTlsEnd>,
}

/// One end of a TLS control connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlTlsEnd {
    /// Certificate chain, PEM.
    pub certificate: Option<Source>,
    /// Private key, PEM.
    pub privatekey: Option<Source>,
    /// Whether the other end's certificate must be good.
    pub verify: bool,
    /// The name it must carry.
    pub verifyname: Option<Arc<str>>,
}

/// Whom to become after start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privdrop {
    /// User.
    pub user: Option<Arc<str>>,
    /// Group.
    pub group: Option<Arc<str>>,
}

/// How transaction ids are made (RFC 9562).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UuidVersion {
    /// Version 4: random.
    Random,
    /// Version 1: time and node.
    Time,
}

/// HTTP listener for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorListener {
    /// Bind address; `None` is every address.
    pub address: Option<IpAddr>,
    /// TCP port, never zero.
    pub port: u16,
    /// Whether TLS is spoken.
    pub https: bool,
}

/// Connection to a delivery orchestrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Host name or address.
    pub address: Option<Arc<str>>,
    /// TCP port, never zero.
    pub port: u16,
    /// Number of hosts assumed until the orchestrator tells better.
    pub startup_hosts: Option<u32>,
}

impl Startup {
    /// The sockets of the server called `id`.
    #[must_use]
    pub fn server(&self, id: &str) -> Option<&ServerSockets> {
        self.servers.iter().find(|server| server.id.as_str() == id)
    }
}

impl Place {
    /// The socket addresses to bind: one, or every IPv6 and every IPv4 address when none is named;
    /// none for a Unix socket.
    #[must_use]
    pub fn socket_addrs(&self) -> Vec<SocketAddr> {
        match *self {
            Self::Network { address: Some(address), port } => vec![SocketAddr::new(address, port)],
            Self::Network { address: None, port } => vec![
                SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)),
                SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port)),
            ],
            Self::Unix(_) => Vec::new(),
        }
    }
}
