//! Accepts connections on one socket and gives each a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mta_types::ServerId;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::context::Core;
use crate::fence::fenced;
use crate::inbound::connection::Connection;
use crate::stats::Level;

/// A bound socket of a virtual server.
pub(crate) struct Bound {
    pub(crate) listener: std::net::TcpListener,
    pub(crate) server: ServerId,
    /// Name by which the running configuration may refer to it.
    pub(crate) id: Option<Arc<str>>,
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
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
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
    let listener = match TcpListener::from_std(bound.listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(server = %bound.server, %error, "inbound.accept_failed");
            return;
        }
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => take(&core, &bound.server, bound.id.as_ref(), stream, remote),
            Err(error) => {
                tracing::error!(server = %bound.server, %error, "inbound.accept_failed");
                // Out of descriptors or memory: others may give some back meanwhile.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn take(
    core: &Arc<Core>,
    server: &ServerId,
    listener: Option<&Arc<str>>,
    stream: TcpStream,
    remote: SocketAddr,
) {
    let generation = core.generation.load_full();
    let Some(settings) = generation.server(server) else { return };
    // Replies are written whole; waiting for more would only add delay.
    let _ = stream.set_nodelay(true);
    let stats = &settings.stats;
    let Some(level) = stats.connections.enter_below(settings.max_connections) else {
        tracing::warn!(server = %server, remoteip = %remote.ip(), "inbound.connection_refused");
        core.tasks.spawn(refuse(stream, settings.smtp.hostname.clone()));
        return;
    };
    let implicit_tls = listener.is_some_and(|id| settings.implicit_tls.contains(id));
    let Ok(local) = stream.local_addr() else { return };
    let connection = Connection::new(Arc::clone(core), Arc::clone(settings), remote, local);
    core.tasks.spawn(run(connection, stream, implicit_tls, level));
}

/// Runs one conversation behind a fence: our own fault ends it and nothing else.
async fn run(connection: Connection, stream: TcpStream, implicit_tls: bool, level: Level) {
    let remote = connection.facts.peer();
    let server = connection.facts.serverid.clone();
    if fenced(Box::pin(connection.run(stream, implicit_tls))).await.is_err() {
        tracing::error!(server = %server, remoteip = %remote, "inbound.connection_failed");
    }
    drop(level);
}

/// Tells a peer that there is no room, without waiting for it.
async fn refuse(stream: TcpStream, hostname: String) {
    let line = format!("421 4.3.2 {hostname} too many connections, try again later\r\n");
    if stream.writable().await.is_ok() {
        // What does not go out at once is not worth waiting for.
        let _ = stream.try_write(line.as_bytes());
    }
}

/// Linux's own ceiling since 5.4 (`net.core.somaxconn`).
const DEFAULT_BACKLOG: u32 = 4096;

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
