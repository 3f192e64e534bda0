//! Accepts connections on one socket and gives each a task of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mta_types::ServerId;
use smtp::proxy_header::{Addresses, ProxyHeader};
use socket2::{Domain, Protocol, Type};
use tls_policy::Socket;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use crate::context::{Core, Server};
use crate::fence::fenced;
use crate::inbound::connection::Connection;
use crate::inbound::facts::{Ends, Origin, Proxy};
use crate::inbound::proxy_header;
use crate::stats::Level;
use crate::unix_socket::SocketFile;

/// A bound socket of a virtual server.
pub(crate) struct Bound {
    pub(crate) sockets: Sockets,
    pub(crate) server: ServerId,
    /// Name by which the running configuration may refer to it.
    pub(crate) id: Option<Arc<str>>,
    /// Peers that begin with a PROXY header.
    pub(crate) proxies: Arc<[IpAddr]>,
}

/// Where connections come from.
pub(crate) enum Sockets {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// Binds a listening socket.
///
/// # Errors
///
/// The system's, for instance that the port is taken.
pub(crate) fn bind(
    address: SocketAddr,
    backlog: Option<u32>,
) -> std::io::Result<std::net::TcpListener> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 gets a socket of its own, so that addresses show as what they are.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    let backlog = backlog.unwrap_or(DEFAULT_BACKLOG).min(i32::MAX as u32);
    socket.listen(backlog as i32)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts until the daemon stops.
pub(crate) async fn serve(core: Arc<Core>, bound: Bound) {
    let Bound { sockets, server, id, proxies } = bound;
    let door = Door { core, server, id, proxies };
    let listener = match sockets {
        Sockets::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
        Sockets::Unix(listener, file) => {
            UnixListener::from_std(listener).map(|listener| Listener::Unix(listener, file))
        }
    };
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(server = %door.server, %error, "inbound.accept_failed");
            return;
        }
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.core.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(Accepted::Tcp(stream, remote)) => door.take_tcp(stream, remote),
            Ok(Accepted::Unix(stream)) => door.take_unix(stream),
            Err(error) => {
                tracing::error!(server = %door.server, %error, "inbound.accept_failed");
                // Out of descriptors or memory: others may give some back meanwhile.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A listening socket at work.
enum Listener {
    Tcp(TcpListener),
    // The file goes when nobody listens any more.
    Unix(UnixListener, #[expect(dead_code, reason = "kept for its end")] SocketFile),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                Accepted::Tcp(stream, remote)
            }
            Self::Unix(listener, _) => Accepted::Unix(listener.accept().await?.0),
        })
    }
}

/// A listening socket's place in the product.
struct Door {
    core: Arc<Core>,
    server: ServerId,
    id: Option<Arc<str>>,
    proxies: Arc<[IpAddr]>,
}

impl Door {
    fn take_tcp(&self, stream: TcpStream, remote: SocketAddr) {
        // Replies are written whole; waiting for more would only add delay.
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let ends = Ends { remote, local };
        let Some((server, level)) = self.enter(&stream, &remote.ip().to_canonical()) else {
            return;
        };
        let core = Arc::clone(&self.core);
        let id = self.id.clone();
        if self.proxies.contains(&remote.ip().to_canonical()) {
            self.core.tasks.spawn(run_proxied(core, server, id, ends, stream, level));
        } else {
            let server = core.staged(server, Some(remote.ip().to_canonical()));
            let implicit_tls = server.is_implicit_tls(id.as_deref());
            let connection = Connection::new(core, server, Origin::Network(ends, None));
            self.core.tasks.spawn(run(connection, stream.into(), implicit_tls, level));
        }
    }

    fn take_unix(&self, stream: UnixStream) {
        let Ok(peer) = stream.peer_cred() else { return };
        let uid = peer.uid();
        let Some((server, level)) = self.enter(&stream, &format_args!("uid {uid}")) else { return };
        let core = Arc::clone(&self.core);
        let server = core.staged(server, None);
        let implicit_tls = server.is_implicit_tls(self.id.as_deref());
        let connection = Connection::new(core, server, Origin::Local { uid });
        self.core.tasks.spawn(run(connection, stream.into(), implicit_tls, level));
    }

    /// The server as it is now and a place on it, unless it is full: then the peer is told so,
    /// without waiting for it.
    fn enter(
        &self,
        stream: &impl TryWrite,
        peer: &dyn std::fmt::Display,
    ) -> Option<(Arc<Server>, Level)> {
        let generation = self.core.generation.load_full();
        let server = Arc::clone(generation.server(&self.server)?);
        if let Some(level) = server.stats.connections.enter_below(server.max_connections) {
            return Some((server, level));
        }
        tracing::warn!(server = %self.server, remoteip = %peer, "inbound.connection_refused");
        let hostname = &server.smtp.hostname;
        // A fresh socket takes a line; what does not go out at once is not worth waiting for.
        stream
            .write_now(&format!("421 4.3.2 {hostname} too many connections, try again later\r\n"));
        None
    }
}

/// Takes the PROXY header off a connection, then runs it as the one that the proxy took.
async fn run_proxied(
    core: Arc<Core>,
    server: Arc<Server>,
    id: Option<Arc<str>>,
    ends: Ends,
    mut stream: TcpStream,
    level: Level,
) {
    let read = tokio::select! {
        biased;
        () = core.stop.cancelled() => return,
        read = timeout(PROXY_PATIENCE, proxy_header::read(&mut stream)) => read,
    };
    let ip = ends.remote.ip().to_canonical();
    let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "no PROXY header came in time");
    match read.map_err(|_| timed_out()).and_then(|result| result) {
        Ok(ProxyHeader { addresses, tlv }) => {
            let (ends, proxy) = match addresses {
                Addresses::Proxied { source: remote, destination: local } => {
                    (Ends { remote, local }, Some(Box::new(Proxy { ip, tlv })))
                }
                Addresses::Local => (ends, None),
            };
            let server = core.staged(server, Some(ends.remote.ip().to_canonical()));
            let implicit_tls = server.is_implicit_tls(id.as_deref());
            let origin = Origin::Network(ends, proxy);
            let connection = Connection::new(core, server, origin);
            Box::pin(run(connection, stream.into(), implicit_tls, level)).await;
        }
        Err(error) => {
            tracing::warn!(server = %server.id, proxyip = %ip, %error, "inbound.proxy_header_refused");
        }
    }
}

/// Writes what the socket takes at once.
trait TryWrite {
    fn write_now(&self, line: &str);
}

impl TryWrite for TcpStream {
    fn write_now(&self, line: &str) {
        let _ = self.try_write(line.as_bytes());
    }
}

impl TryWrite for UnixStream {
    fn write_now(&self, line: &str) {
        let _ = self.try_write(line.as_bytes());
    }
}

/// Runs one conversation behind a fence: our own fault ends it and nothing else.
async fn run(connection: Connection, stream: Socket, implicit_tls: bool, level: Level) {
    let remote = connection.facts.peer();
    let server = connection.facts.serverid.clone();
    if fenced(Box::pin(connection.run(stream, implicit_tls))).await.is_err() {
        tracing::error!(server = %server, remoteip = %remote, "inbound.connection_failed");
    }
    drop(level);
}

/// Linux's own ceiling since 5.4 (`net.core.somaxconn`).
const DEFAULT_BACKLOG: u32 = 4096;

/// How long a proxy may take for its header: it sends it with its first packet.
const PROXY_PATIENCE: Duration = Duration::from_secs(10);

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
